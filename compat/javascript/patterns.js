// The six classic patterns.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PATIENCE_MS, collect, depth, expect, textsUntil, within } from './broker.js';

export async function helloWorld(broker) {
  const queue = broker.queue('hello');
  const sender = await broker.channel();
  await sender.assertQueue(queue);
  sender.sendToQueue(queue, Buffer.from('Grüß Gott'), {
    contentType: 'text/plain',
    headers: { lang: 'de', tries: 1 },
  });

  const receiver = await broker.channel();
  await receiver.assertQueue(queue);
  const [message] = await collect(receiver, queue, () => true);
  expect('body', message.content.toString(), 'Grüß Gott');
  expect('exchange', message.fields.exchange, '');
  expect('routing key', message.fields.routingKey, queue);
  expect('redelivered', message.fields.redelivered, false);
  expect('content type', message.properties.contentType, 'text/plain');
  expect('headers', message.properties.headers, { lang: 'de', tries: 1 });
}

export async function workQueues(broker) {
  const queue = broker.queue('tasks');
  const tasks = Array.from({ length: 30 }, (_, number) => `task ${number}`);
  const done = [];
  let finish;
  const finished = new Promise((resolve) => {
    finish = resolve;
  });

  const startWorker = async (millisecondsPerTask) => {
    const worker = { count: 0, modes: new Set() };
    const channel = await broker.channel();
    await channel.prefetch(1);
    await channel.consume(queue, async (message) => {
      await sleep(millisecondsPerTask);
      channel.ack(message);
      worker.count += 1;
      worker.modes.add(message.properties.deliveryMode);
      done.push(message.content.toString());
      if (done.length >= tasks.length) finish();
    });
    worker.stop = () => channel.close();
    return worker;
  };

  const channel = await broker.channel();
  await channel.assertQueue(queue, { durable: true });
  const slow = await startWorker(100);
  const fast = await startWorker(10);
  for (const task of tasks) channel.sendToQueue(queue, Buffer.from(task), { persistent: true });
  await within(PATIENCE_MS, 'all tasks', finished);
  await slow.stop();
  await fast.stop();

  expect('tasks done', done.sort(), tasks.sort());
  expect('tasks left', await depth(channel, queue), 0);
  expect('delivery modes', [...slow.modes, ...fast.modes], [2, 2]);
  if (slow.count === 0 || slow.count >= fast.count) {
    throw new Error(`the slow worker got ${slow.count} tasks, the fast one ${fast.count}`);
  }
}

export async function publishSubscribe(broker) {
  const exchange = broker.exchange('news');
  const news = Array.from({ length: 5 }, (_, number) => `headline ${number}`);

  const subscribers = [];
  for (let number = 0; number < 2; number += 1) {
    const channel = await broker.channel();
    await channel.assertExchange(exchange, 'fanout', { durable: false });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, exchange, '');
    subscribers.push({ channel, queue });
  }
  const names = new Set(subscribers.map(({ queue }) => queue).filter(Boolean));
  expect('different queue names from the server', names.size, 2);

  const publisher = await broker.channel();
  await publisher.assertExchange(exchange, 'fanout', { durable: false });
  for (const headline of [...news, 'end']) publisher.publish(exchange, '', Buffer.from(headline));
  const received = await Promise.all(
    subscribers.map(({ channel, queue }) => textsUntil('end', channel, queue)),
  );
  expect('both subscribers', received, [news, news]);
}

export async function routing(broker) {
  const exchange = broker.exchange('log');
  const channel = await broker.channel();
  await channel.assertExchange(exchange, 'direct', { durable: false });
  const { queue: pager } = await channel.assertQueue('', { exclusive: true });
  const { queue: archive } = await channel.assertQueue('', { exclusive: true });
  for (const severity of ['critical', 'end']) await channel.bindQueue(pager, exchange, severity);
  for (const severity of ['notice', 'warning', 'critical', 'end']) {
    await channel.bindQueue(archive, exchange, severity);
  }

  const log = ['notice', 'critical', 'debug', 'warning', 'critical.disk', 'critical', 'end'];
  for (const severity of log) channel.publish(exchange, severity, Buffer.from(severity));
  expect('pager', await textsUntil('end', channel, pager), ['critical', 'critical']);
  expect('archive', await textsUntil('end', channel, archive), [
    'notice',
    'critical',
    'warning',
    'critical',
  ]);
}

export async function topics(broker) {
  const exchange = broker.exchange('readings');
  const readings = [
    'home.kitchen.temperature',
    'home.kitchen.humidity',
    'home',
    'office.lab.temperature',
    'office.lab.rack.temperature',
  ];
  // The patterns that a queue is bound with, and which readings it gets: each of them once.
  const interests = [
    [['home.#'], [0, 1, 2]],
    [['home.*'], []],
    [['*.*.temperature'], [0, 3]],
    [['#.temperature'], [0, 3, 4]],
    [['home.#', '#.temperature'], [0, 1, 2, 3, 4]],
    [['office.lab.temperature'], [3]],
    [['#'], [0, 1, 2, 3, 4]],
  ];
  const channel = await broker.channel();
  await channel.assertExchange(exchange, 'topic', { durable: false });
  const queues = [];
  for (const [patterns] of interests) {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const pattern of [...patterns, 'end']) await channel.bindQueue(queue, exchange, pattern);
    queues.push(queue);
  }

  for (const key of [...readings, 'end']) channel.publish(exchange, key, Buffer.from(key));
  for (const [index, [patterns, wanted]] of interests.entries()) {
    expect(
      patterns.join(' and '),
      await textsUntil('end', channel, queues[index]),
      wanted.map((reading) => readings[reading]),
    );
  }
}

export async function rpc(broker) {
  const queue = broker.queue('squares');
  const server = await broker.channel();
  await server.assertQueue(queue);
  await server.prefetch(1);
  await server.consume(queue, (request) => {
    const { replyTo, correlationId } = request.properties;
    const square = Number(request.content.toString()) ** 2;
    server.sendToQueue(replyTo, Buffer.from(String(square)), { correlationId });
    server.ack(request);
  });

  const square = await squareClient(broker, queue);
  const numbers = Array.from({ length: 12 }, (_, number) => number);
  const squares = await within(PATIENCE_MS, 'answers', Promise.all(numbers.map(square)));
  expect('squares', squares, numbers.map((number) => number ** 2));
}

// A function that asks the server and finds its answer by the correlation id.
async function squareClient(broker, queue) {
  const channel = await broker.channel();
  const { queue: replyTo } = await channel.assertQueue('', { exclusive: true });
  const waiting = new Map();
  const onReply = ({ content, properties: { correlationId } }) => {
    if (!waiting.has(correlationId)) throw new Error(`unknown correlation id ${correlationId}`);
    waiting.get(correlationId)(Number(content.toString()));
    waiting.delete(correlationId);
  };
  await channel.consume(replyTo, onReply, { noAck: true });

  return (number) =>
    new Promise((resolve) => {
      const correlationId = randomUUID();
      waiting.set(correlationId, resolve);
      channel.sendToQueue(queue, Buffer.from(String(number)), { correlationId, replyTo });
    });
}
