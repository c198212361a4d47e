// Consumers, and queues that treat them in a way of their own.
import { setTimeout as sleep } from 'node:timers/promises';
import { PATIENCE_MS, depth, expect, take, until, within } from './broker.js';

export async function prefetch(broker) {
  const queue = broker.queue('prefetch');
  const channel = await broker.confirmChannel();
  await channel.assertQueue(queue);
  for (let number = 0; number < 10; number += 1) channel.sendToQueue(queue, Buffer.from(String(number)));
  await channel.waitForConfirms();
  const seen = [];
  await channel.prefetch(3);
  await channel.consume(queue, (message) => seen.push(message));
  await until('three messages', () => seen.length === 3);
  await sleep(200);
  expect('at once', seen.length, 3);
  channel.ack(seen[1], true);
  await until('two more', () => seen.length === 5);
  expect('ready', await depth(channel, queue), 5);
}

export async function cancelled(broker) {
  const queue = broker.queue('cancelled');
  const channel = await broker.channel();
  await channel.assertQueue(queue);
  const told = new Promise((resolve) => channel.consume(queue, resolve));
  await (await broker.channel()).deleteQueue(queue);
  expect('told', await within(PATIENCE_MS, 'the cancellation', told), null);
  await channel.assertQueue(queue); // the channel lives on
}

export async function singleActive(broker) {
  const queue = broker.queue('single');
  const channel = await broker.channel();
  await channel.assertQueue(queue, { arguments: { 'x-single-active-consumer': true } });
  const got = { first: [], second: [] };
  const consumer = (name) =>
    channel.consume(queue, (message) => {
      got[name].push(message.content.toString());
      channel.ack(message);
    });
  const { consumerTag } = await consumer('first');
  await consumer('second');
  for (const text of ['1', '2']) channel.sendToQueue(queue, Buffer.from(text));
  await until('both', () => got.first.length === 2);
  await channel.cancel(consumerTag);
  channel.sendToQueue(queue, Buffer.from('3'));
  await until("the other's turn", () => got.second.length);
  expect('got', got, { first: ['1', '2'], second: ['3'] });
}

export async function quorumQueue(broker) {
  const [queue, dead] = [broker.queue('quorum'), broker.queue('dead')];
  const channel = await broker.confirmChannel();
  await channel.assertQueue(dead);
  await channel.assertQueue(queue, {
    deadLetterExchange: '',
    deadLetterRoutingKey: dead,
    arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 },
  });
  channel.sendToQueue(queue, Buffer.from('poison'), { persistent: true });
  await channel.waitForConfirms();
  const counts = [];
  await channel.consume(queue, (message) => {
    counts.push(message.properties.headers['x-delivery-count']);
    channel.reject(message, true);
  });
  await until('three deliveries', () => counts.length === 3);
  expect('delivery counts', counts, [undefined, 1, 2]);
  const { content, properties } = await take(channel, dead);
  expect('given up', [content.toString(), properties.headers['x-death'][0].reason], ['poison', 'delivery_limit']);
}

export async function stream(broker) {
  const queue = broker.queue('stream');
  const connection = await broker.connect();
  const channel = await broker.confirmChannel(connection);
  await channel.assertQueue(queue, { arguments: { 'x-queue-type': 'stream' } });
  for (let number = 0; number < 20; number += 1) channel.sendToQueue(queue, Buffer.from(String(number)));
  await channel.waitForConfirms();

  const read = async (offset, count) => {
    const reader = await broker.channel(connection);
    await reader.prefetch(5);
    const got = [];
    const onMessage = (message) => {
      got.push([message.properties.headers['x-stream-offset'], message.content.toString()]);
      reader.ack(message);
    };
    await reader.consume(queue, onMessage, { arguments: { 'x-stream-offset': offset } });
    if (offset === 'next') channel.sendToQueue(queue, Buffer.from('20'));
    await until(`messages from ${offset}`, () => got.length >= count);
    await reader.close();
    return got;
  };
  const everything = Array.from({ length: 20 }, (_, number) => [number, String(number)]);
  expect('from the first', await read('first', 20), everything);
  expect('again, from 15', await read(15, 5), everything.slice(15));
  expect('only what comes', await read('next', 1), [[20, '20']]);
}

export async function manyChannels(broker) {
  const queue = broker.queue('many');
  const connection = await broker.connect();
  const channels = await Promise.all(Array.from({ length: 200 }, () => broker.channel(connection)));
  await channels[0].assertQueue(queue);
  const got = [];
  for (const [number, channel] of channels.entries()) {
    await channel.consume(queue, (message) => {
      got.push(number);
      channel.ack(message);
    });
  }
  for (const channel of channels) channel.sendToQueue(queue, Buffer.from('x'));
  await until('a message for each', () => got.length === 200);
  expect('channels', new Set(got).size, 200);
}
