// What amqplib's scenarios share: connections, names of their own, and waiting for messages.
import { randomUUID } from 'node:crypto';
import amqp from 'amqplib';
import { PATIENCE_MS, expect, until, within } from './harness.js';

export { PATIENCE_MS, expect, until, within };

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

  async connect(uri = this.uri, options = {}) {
    const connection = await amqp.connect(uri, { timeout: PATIENCE_MS, ...options });
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

  // A channel that is to be closed by the broker; `closed` becomes the reason.
  async doomedChannel(connection) {
    const channel = await (connection ?? (await this.connect())).createConfirmChannel();
    channel.closed = new Promise((resolve) => channel.on('error', resolve));
    return channel;
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
    for (const connection of this.#connections) connection.removeListener('error', this.fail).on('error', () => {});
    const closed = Promise.allSettled(this.#connections.map(async (connection) => connection.close()));
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

// One message by basic.get, which may take a moment to come.
export async function take(channel, queue) {
  let message;
  await until(`a message in ${queue}`, async () => (message = await channel.get(queue, { noAck: true })));
  return message;
}
