// Exchanges, bindings and queues that are not plain.
import { PATIENCE_MS, depth, expect, take, textsUntil, until, within } from './broker.js';

export async function alternateExchange(broker) {
  const [main, other, queue] = [broker.exchange('main'), broker.exchange('other'), broker.queue('unrouted')];
  const channel = await broker.confirmChannel();
  await channel.assertExchange(other, 'fanout');
  await channel.assertExchange(main, 'direct', { alternateExchange: other });
  await channel.assertQueue(queue);
  await channel.bindQueue(queue, other, '');
  channel.on('return', () => broker.fail(new Error('returned')));
  channel.publish(main, 'nobody', Buffer.from('caught'), { mandatory: true });
  await channel.waitForConfirms();
  const { fields, content } = await take(channel, queue);
  expect('message', [fields.exchange, fields.routingKey, content.toString()], [main, 'nobody', 'caught']);
}

export async function exchangeToExchange(broker) {
  const [source, middle, queue] = [broker.exchange('source'), broker.exchange('middle'), broker.queue('end')];
  const channel = await broker.confirmChannel();
  await channel.assertExchange(source, 'topic');
  await channel.assertExchange(middle, 'fanout');
  await channel.assertQueue(queue);
  await channel.bindExchange(middle, source, 'a.#');
  await channel.bindQueue(queue, middle, '');
  for (const key of ['a.b', 'b.a']) channel.publish(source, key, Buffer.from(key));
  await channel.waitForConfirms();
  expect('message', (await take(channel, queue)).content.toString(), 'a.b');
  await channel.unbindExchange(middle, source, 'a.#');
  channel.publish(source, 'a.b', Buffer.from('to nobody'));
  await channel.waitForConfirms();
  expect('left', await depth(channel, queue), 0);
}

export async function headersExchange(broker) {
  const exchange = broker.exchange('headers');
  const channel = await broker.channel();
  await channel.assertExchange(exchange, 'headers');
  const queues = {};
  for (const match of ['all', 'any']) {
    queues[match] = (await channel.assertQueue('', { exclusive: true })).queue;
    await channel.bindQueue(queues[match], exchange, '', { 'x-match': match, format: 'pdf', pages: 3 });
    await channel.bindQueue(queues[match], exchange, '', { 'x-match': 'all', end: true });
  }
  const messages = {
    both: { format: 'pdf', pages: 3 }, one: { format: 'pdf', pages: 4 }, none: { format: 'txt' }, end: { end: true },
  };
  for (const [text, headers] of Object.entries(messages)) channel.publish(exchange, '', Buffer.from(text), { headers });
  expect('all', await textsUntil('end', channel, queues.all), ['both']);
  expect('any', await textsUntil('end', channel, queues.any), ['both', 'one']);
}

export async function exclusiveQueues(broker) {
  const owner = await broker.connect();
  const stranger = await broker.connect();
  const { queue } = await (await broker.channel(owner)).assertQueue('', { exclusive: true });
  expect('named by the server', queue.startsWith('amq.gen-'), true);
  const look = async () => {
    const doomed = await broker.doomedChannel(stranger);
    doomed.checkQueue(queue).catch(() => {});
    return (await within(PATIENCE_MS, 'the refusal', doomed.closed)).code;
  };
  expect('to another connection', await look(), 405);
  await owner.close();
  await until('it goes with its connection', async () => (await look()) === 404);
}

export async function autoDelete(broker) {
  const [queue, exchange] = [`${broker.prefix}.fleeting`, `${broker.prefix}.fleeting`];
  const connection = await broker.connect();
  const channel = await broker.channel(connection);
  await channel.assertExchange(exchange, 'fanout', { autoDelete: true });
  await channel.assertQueue(queue, { autoDelete: true });
  await channel.bindQueue(queue, exchange, '');
  const { consumerTag } = await channel.consume(queue, () => {});
  expect('while it is consumed from', (await channel.checkQueue(queue)).consumerCount, 1);
  await channel.cancel(consumerTag);
  for (const look of [(each) => each.checkQueue(queue), (each) => each.checkExchange(exchange)]) {
    const doomed = await broker.doomedChannel(connection);
    look(doomed).catch(() => {});
    expect('afterwards', (await within(PATIENCE_MS, 'the refusal', doomed.closed)).code, 404);
  }
}
