// What the scenarios share: connections, names of their own, and waiting for messages.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import amqp from 'amqplib';

export const PATIENCE_MS = 4_000; // for one expected event
const CLOSE_MS = 1_000;

export class Broker {
  #queues = [];
  #exchanges = [];
  #connections = [];

  constructor(uri) {
    this.uri = uri;
    this.prefix = `compat.javascript.${randomUUID().slice(0, 13)}`;
    // Rejected when a connection or channel breaks while nobody awaits anything of it.
    this.failed = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.failed.catch(() => {});
  }

  async connect() {
    const connection = await amqp.connect(this.uri, { timeout: PATIENCE_MS });
    connection.on('error', this.fail);
    this.#connections.push(connection);
    return connection;
  }

  async channel(connection) {
    return this.#watched(await (connection ?? (await this.connect())).createChannel());
  }

  async confirmChannel(connection) {
    return this.#watched(await (connection ?? (await this.connect())).createConfirmChannel());
  }

  #watched(channel) {
    channel.on('error', this.fail);
    return channel;
  }

  // A queue name that no other run uses; cleanUp deletes the queue.
  queue(label) {
    this.#queues.push(`${this.prefix}.${label}`);
    return this.#queues.at(-1);
  }

  // The same for an exchange.
  exchange(label) {
    this.#exchanges.push(`${this.prefix}.${label}`);
    return this.#exchanges.at(-1);
  }

  // Closes what the scenario left open and deletes what it declared.
  async cleanUp() {
    const closed = Promise.allSettled(this.#connections.map((connection) => connection.close()));
    await within(CLOSE_MS, 'closing', closed).catch(() => {});
    if (!this.#queues.length && !this.#exchanges.length) return;
    const connection = await amqp.connect(this.uri, { timeout: PATIENCE_MS });
    connection.on('error', () => {});
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    for (const queue of this.#queues) await channel.deleteQueue(queue);
    for (const exchange of this.#exchanges) await channel.deleteExchange(exchange);
    await connection.close();
  }
}

// The promise's own outcome, or a rejection when it takes longer.
export async function within(milliseconds, what, promise) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not finished after ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

export function expect(what, actual, wanted) {
  try {
    assert.deepStrictEqual(actual, wanted);
  } catch {
    throw new Error(`${what}: got ${JSON.stringify(actual)}, wanted ${JSON.stringify(wanted)}`);
  }
}

// The queue's messages up to the first one for which isLast says so.
export async function collect(channel, queue, isLast) {
  const messages = [];
  let consumer;
  const all = new Promise((resolve, reject) => {
    const onMessage = (message) => {
      if (message === null) return reject(new Error(`the broker cancelled the consumer of ${queue}`));
      messages.push(message);
      if (isLast(message)) resolve();
    };
    consumer = channel.consume(queue, onMessage, { noAck: true });
  });
  const { consumerTag } = await consumer;
  await within(PATIENCE_MS, `messages from ${queue}`, all);
  await channel.cancel(consumerTag);
  return messages;
}

// The bodies that the queue holds before the one that says it is the last.
export async function textsUntil(last, channel, queue) {
  const messages = await collect(channel, queue, (message) => message.content.toString() === last);
  return messages.slice(0, -1).map((message) => message.content.toString());
}

export async function depth(channel, queue) {
  return (await channel.checkQueue(queue)).messageCount;
}
