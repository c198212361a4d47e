// Runs scenarios with @cloudamqp/amqp-client, amqp-connection-manager and a NestJS microservice:
// node main.js URI [SCENARIO ...]
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AMQPClient, AMQPSession } from '@cloudamqp/amqp-client';
import nest from '@nestjs/core';
import microservices from '@nestjs/microservices';
import managed from 'amqp-connection-manager';
import { firstValueFrom } from 'rxjs';
import { control, expect, given, main, until, within } from '../javascript/harness.js';

const PATIENCE_MS = 5_000;
const LONG_MS = 30_000; // for a library to come back after a restart

class Broker {
  #queues = [];
  #closing = [];

  constructor(uri) {
    this.uri = uri;
    this.prefix = `compat.javascript-more.${randomUUID().slice(0, 13)}`;
    this.failed = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.failed.catch(() => {});
  }

  queue(label) {
    this.#queues.push(`${this.prefix}.${label}`);
    return this.#queues.at(-1);
  }

  later(close) {
    this.#closing.push(close);
  }

  async connect(uri = this.uri, tls = undefined) {
    const client = new AMQPClient(uri, tls);
    const connection = await client.connect();
    this.later(() => connection.close());
    return connection;
  }

  async cleanUp() {
    for (const close of this.#closing.reverse()) await close().catch(() => {});
    const connection = await new AMQPClient(this.uri).connect();
    const channel = await connection.channel();
    for (const queue of this.#queues) await channel.queueDelete(queue);
    await connection.close();
  }
}

// --- @cloudamqp/amqp-client ---

async function clientBasics(broker) {
  const channel = await (await broker.connect()).channel();
  const name = broker.queue('basics');
  await channel.queueDeclare(name, { durable: true });
  await channel.confirmSelect();
  const headers = { text: 'ä', number: 7, list: [1, 'two'], table: { deep: true } };
  const properties = { deliveryMode: 2, headers, contentType: 'text/plain' };
  expect('confirmed', await channel.basicPublish('', name, 'Grüß Gott', properties), 1);
  const message = await channel.basicGet(name, { noAck: false });
  expect('body', message.bodyString(), 'Grüß Gott');
  expect('headers', message.properties.headers, headers);
  await message.nack(true);
  const seen = [];
  await channel.prefetch(1);
  await channel.basicConsume(name, { noAck: false }, async (each) => {
    seen.push([each.bodyString(), each.redelivered]);
    await each.ack();
  });
  await until('the message again', () => seen.length === 1);
  expect('again', seen, [['Grüß Gott', true]]);
}

async function clientStream(broker) {
  const channel = await (await broker.connect()).channel();
  const name = broker.queue('stream');
  await channel.queueDeclare(name, { durable: true }, { 'x-queue-type': 'stream' });
  await channel.confirmSelect();
  for (let number = 0; number < 20; number += 1) await channel.basicPublish('', name, String(number));
  const offsets = [];
  await channel.prefetch(10);
  await channel.basicConsume(name, { noAck: false, args: { 'x-stream-offset': 12 } }, (message) => {
    offsets.push(Number(message.properties.headers['x-stream-offset']));
    message.ack();
  });
  await until('messages', () => offsets.length >= 8);
  expect('offsets', offsets, [12, 13, 14, 15, 16, 17, 18, 19]);
}

async function clientTls(broker) {
  const connection = await broker.connect(given('COMPAT_URI_TLS'), { ca: readFileSync(given('COMPAT_CA')) });
  const channel = await connection.channel();
  const { name } = await channel.queueDeclare('', { exclusive: true });
  await channel.basicPublish('', name, 'secret'.repeat(100_000));
  let message;
  await until('the message', async () => (message = await channel.basicGet(name, { noAck: true })));
  expect('size', message.bodyString().length, 600_000);
}

// The library's session is connected again after a restart, with its consumers.
async function sessionRecovery(broker) {
  given('COMPAT_CONTROL');
  const session = await AMQPSession.connect(broker.uri, { reconnectInterval: 300 });
  broker.later(() => session.stop());
  const queue = await session.queue(broker.queue('session'), { durable: true });
  const seen = [];
  await queue.subscribe({ prefetch: 5 }, (message) => {
    seen.push(message.bodyString());
  });
  await queue.publish('before');
  await until('the first message', () => seen.length === 1);
  await control('restart');
  const channel = await (await broker.connect()).channel();
  await channel.basicPublish('', queue.name, 'after');
  await until('the second message', () => seen.includes('after'), LONG_MS);
}

async function clientRefused(broker) {
  const connection = await broker.connect();
  const refused = await (await connection.channel()).basicConsume(`${broker.prefix}.missing`, {}, () => {}).catch((error) => error);
  expect(refused.message, refused.message.includes('404'), true);
  const wrong = await new AMQPClient(`${broker.uri}no-such-vhost`).connect().catch((error) => error);
  expect(wrong.message, wrong.message.includes('no-such-vhost'), true);
}

// --- amqp-connection-manager ---

// Everything is set up again after a restart, and what was published meanwhile is sent then.
async function managerRecovery(broker) {
  given('COMPAT_CONTROL');
  const queue = broker.queue('managed');
  const connection = managed.connect([broker.uri], { reconnectTimeInSeconds: 0.3, heartbeatIntervalInSeconds: 5 });
  broker.later(() => connection.close());
  connection.on('disconnect', () => {});
  const seen = [];
  const channel = connection.createChannel({
    json: true,
    setup: async (each) => {
      await each.assertQueue(queue, { durable: true });
      await each.prefetch(5);
      await each.consume(queue, (message) => {
        seen.push(JSON.parse(message.content.toString()).number);
        each.ack(message);
      });
    },
  });
  channel.on('error', () => {});
  await within(PATIENCE_MS, 'connecting', channel.waitForConnect());
  await channel.sendToQueue(queue, { number: 1 }, { persistent: true });
  const restarted = control('restart');
  const publish = (number) => channel.sendToQueue(queue, { number }, { persistent: true, timeout: LONG_MS });
  // What was on its way when the connection ended, and is not confirmed, is the application's to send again.
  const published = [2, 3].map((number) => publish(number).catch(() => publish(number)));
  await restarted;
  await within(LONG_MS, 'the confirms', Promise.all(published));
  await until('all messages', () => new Set(seen).size === 3, LONG_MS);
}

// --- NestJS ---

class Squares {
  square({ number }) {
    return number * number;
  }


  noted = [];

  note(text) {
    this.noted.push(text);
  }
}

async function nestMicroservice(broker) {
  const { MessagePattern, EventPattern, Payload, Transport, ClientProxyFactory } = microservices;
  const { Controller, Module } = (await import('@nestjs/common')).default;
  // What the decorators of a TypeScript source would do.
  for (const [decorate, pattern, method] of [
    [MessagePattern, { cmd: 'square' }, 'square'], [EventPattern, 'noted', 'note'],
  ]) {
    decorate(pattern)(Squares.prototype, method, Object.getOwnPropertyDescriptor(Squares.prototype, method));
    Payload()(Squares.prototype, method, 0);
  }
  Controller()(Squares);
  class Application {}
  Module({ controllers: [Squares] })(Application);

  const options = { urls: [broker.uri], queue: broker.queue('nest'), queueOptions: { durable: true }, noAck: true };
  const application = await nest.NestFactory.createMicroservice(Application, { transport: Transport.RMQ, options, logger: false });
  broker.later(() => application.close());
  await within(PATIENCE_MS, 'the service starts', application.listen());
  const client = ClientProxyFactory.create({ transport: Transport.RMQ, options });
  broker.later(async () => client.close());
  await within(PATIENCE_MS, 'the client connects', client.connect());
  for (const number of [3, 4]) {
    expect('square', await within(PATIENCE_MS, 'an answer', firstValueFrom(client.send({ cmd: 'square' }, { number }))), number ** 2);
  }
  await firstValueFrom(client.emit('noted', 'an event'));
  const service = application.get(Squares);
  await until('the event', () => service.noted.length === 1);
  expect('event', service.noted, ['an event']);
}

await main(
  {
    'amqp-client-basics': clientBasics,
    'amqp-client-stream': clientStream,
    'amqp-client-tls': clientTls,
    'amqp-client-refused': clientRefused,
    'amqp-client-recovery': sessionRecovery,
    'connection-manager-recovery': managerRecovery,
    'nestjs-microservice': nestMicroservice,
  },
  (uri) => new Broker(uri),
);
