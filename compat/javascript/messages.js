// What may happen to a message.
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PATIENCE_MS, depth, expect, take, until, within } from './broker.js';
import { Skipped } from './harness.js';

const LIMIT = 16 * 1024 * 1024; // the largest message that a broker takes, unless told otherwise

export async function get(broker) {
  const queue = broker.queue('get');
  const channel = await broker.confirmChannel();
  await channel.assertQueue(queue);
  expect('from an empty queue', await channel.get(queue), false);
  for (const text of ['one', 'two']) channel.sendToQueue(queue, Buffer.from(text));
  await channel.waitForConfirms();
  const facts = ({ content, fields }) => [content.toString(), fields.messageCount, fields.redelivered];
  let message = await channel.get(queue);
  expect('first', facts(message), ['one', 1, false]);
  channel.nack(message);
  message = await channel.get(queue);
  expect('again', facts(message), ['one', 1, true]);
  channel.ack(message);
  expect('left', await depth(channel, queue), 1);
}

export async function acknowledgements(broker) {
  const queue = broker.queue('acks');
  const connection = await broker.connect();
  const channel = await broker.channel(connection);
  await channel.assertQueue(queue);
  for (let number = 0; number < 6; number += 1) channel.sendToQueue(queue, Buffer.from(String(number)));
  const seen = [];
  await channel.consume(queue, (message) => seen.push(message));
  const texts = (from) => seen.slice(from).map((message) => [message.content.toString(), message.fields.redelivered]);
  await until('six messages', () => seen.length === 6);
  channel.ack(seen[1], true);
  channel.reject(seen[2], false);
  channel.reject(seen[3], true);
  await until('3 again', () => seen.length === 7);
  expect('3 again', texts(6), [['3', true]]);
  channel.nack(seen[5], true, true);
  await until('4 and 5 again', () => seen.length === 9);
  expect('4 and 5 again', texts(7).sort(), [['4', true], ['5', true]]);
  await channel.recover();
  await until('what is left again', () => seen.length === 12);
  channel.ackAll();
  await channel.close();
  expect('left', await depth(await broker.channel(connection), queue), 0);
}

export async function returns(broker) {
  const channel = await broker.channel();
  const returned = new Promise((resolve) => channel.once('return', resolve));
  channel.sendToQueue(broker.queue('missing'), Buffer.from('lost'), { mandatory: true, headers: { order: 7 } });
  const { fields, properties, content } = await within(PATIENCE_MS, 'the return', returned);
  expect('reply', [fields.replyCode, fields.replyText], [312, 'NO_ROUTE']);
  expect('message', [properties.headers, content.toString()], [{ order: 7 }, 'lost']);
}

export async function ttl(broker) {
  const [short, long, gone] = ['short', 'long', 'gone'].map((label) => broker.queue(label));
  const connection = await broker.connect();
  const channel = await broker.channel(connection);
  await channel.assertQueue(short, { messageTtl: 100 });
  await channel.assertQueue(long);
  await channel.assertQueue(gone, { expires: 200 });
  channel.sendToQueue(short, Buffer.from('by the queue'));
  channel.sendToQueue(long, Buffer.from('by itself'), { expiration: 100 });
  channel.sendToQueue(long, Buffer.from('stays'));
  await until('the short queue is empty', async () => (await depth(channel, short)) === 0);
  await until('one message is left', async () => (await depth(channel, long)) === 1);
  expect('left', (await take(channel, long)).content.toString(), 'stays');
  await sleep(500);
  const doomed = await broker.doomedChannel(connection);
  await doomed.checkQueue(gone).catch(() => {});
  expect('the unused queue', (await within(PATIENCE_MS, 'its end', doomed.closed)).code, 404);
}

// Rejected work waits in a queue and comes back; the third time it is given up.
export async function deadLetters(broker) {
  const [work, waiting, retry] = [broker.queue('work'), broker.queue('waiting'), broker.exchange('retry')];
  const channel = await broker.channel();
  await channel.assertExchange(retry, 'direct');
  await channel.assertQueue(work, { deadLetterExchange: retry, deadLetterRoutingKey: 'later' });
  await channel.assertQueue(waiting, { messageTtl: 50, deadLetterExchange: '', deadLetterRoutingKey: work });
  await channel.bindQueue(waiting, retry, 'later');
  channel.sendToQueue(work, Buffer.from('job'), { headers: { id: 1 } });
  const tries = [];
  let last;
  await channel.consume(work, (message) => {
    const deaths = message.properties.headers['x-death'] ?? [];
    tries.push(Object.fromEntries(deaths.map(({ queue, reason, count }) => [`${queue} ${reason}`, count])));
    if (tries.length < 3) return channel.reject(message, false);
    last = message;
    channel.ack(message);
  });
  await until('three tries', () => tries.length === 3);
  const deaths = (count) => ({ [`${work} rejected`]: count, [`${waiting} expired`]: count });
  expect('deaths', tries, [{}, deaths(1), deaths(2)]);
  expect('first death', last.properties.headers['x-first-death-queue'], work);
  expect('id', last.properties.headers.id, 1);
}

export async function priorities(broker) {
  const queue = broker.queue('priorities');
  const channel = await broker.confirmChannel();
  await channel.assertQueue(queue, { maxPriority: 5 });
  for (const [number, priority] of [0, 5, 1, 9, 1].entries()) {
    channel.sendToQueue(queue, Buffer.from(String(number)), { priority });
  }
  await channel.waitForConfirms();
  const order = [];
  for (let number = 0; number < 5; number += 1) order.push((await take(channel, queue)).content.toString());
  expect('order', order, ['1', '3', '2', '4', '0']);
}

export async function delayed(broker) {
  const exchange = `${broker.prefix}.delayed`;
  const queue = broker.queue('delayed');
  const connection = await broker.connect();
  const doomed = await broker.doomedChannel(connection);
  try {
    await doomed.assertExchange(exchange, 'x-delayed-message', { arguments: { 'x-delayed-type': 'direct' } });
  } catch (error) {
    throw new Skipped(`the broker has no such exchange: ${error.message}`);
  }
  const channel = await broker.channel(connection);
  await channel.assertQueue(queue);
  await channel.bindQueue(queue, exchange, 'k');
  const begin = Date.now();
  channel.publish(exchange, 'k', Buffer.from('later'), { headers: { 'x-delay': 400 } });
  channel.publish(exchange, 'k', Buffer.from('at once'));
  expect('first', (await take(channel, queue)).content.toString(), 'at once');
  expect('second', (await take(channel, queue)).content.toString(), 'later');
  if (Date.now() - begin < 400) throw new Error('it came before its time');
  await channel.deleteExchange(exchange);
}

export async function bigMessage(broker) {
  const queue = broker.queue('big');
  const body = Buffer.alloc(LIMIT, 'All work and no play. ');
  const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
  const connection = await broker.connect();
  const channel = await broker.confirmChannel(connection);
  await channel.assertQueue(queue);
  channel.sendToQueue(queue, body, { persistent: true });
  await channel.waitForConfirms();
  expect('digest', digest((await take(channel, queue)).content), digest(body));
  const doomed = await broker.doomedChannel(connection);
  doomed.sendToQueue(queue, Buffer.concat([body, Buffer.from('!')]));
  expect('a larger one', (await within(PATIENCE_MS, 'the refusal', doomed.closed)).code, 406);
}

export async function headerTypes(broker) {
  const queue = broker.queue('headers');
  const headers = {
    bool: true, no: false, int: 7, negative: -(2 ** 31), long: 2 ** 40, double: 0.25, tiny: 1e-300, text: 'ä€𝄞', empty: '',
    bytes: Buffer.from([0, 255]), none: null, list: [1, 'two', [3.5, null], { four: 4 }],
    table: { deep: { deeper: [true, {}] } }, time: { '!': 'timestamp', value: 1_772_323_199 },
    decimal: { '!': 'decimal', value: { digits: 15, places: 1 } }, ['k'.repeat(128)]: 'long name',
  };
  const properties = {
    contentType: 'a/b', contentEncoding: 'gzip', deliveryMode: 2, priority: 3, correlationId: 'c', replyTo: 'r',
    expiration: '60000', messageId: 'm', timestamp: 1, type: 't', userId: 'guest', appId: 'a',
  };
  const channel = await broker.channel();
  await channel.assertQueue(queue);
  channel.sendToQueue(queue, Buffer.alloc(0), { ...properties, headers });
  const message = await take(channel, queue);
  expect('body', message.content.length, 0);
  for (const [name, value] of Object.entries(headers)) expect(name, message.properties.headers[name], value);
  for (const [name, value] of Object.entries(properties)) expect(name, message.properties[name], value);
}
