// Connections, what is refused, and what fails.
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { PATIENCE_MS, depth, expect, take, until, within } from './broker.js';
import { control, given } from './harness.js';

export async function connectionOptions(broker) {
  const uri = `${given('COMPAT_URI_VHOST')}?heartbeat=7&channelMax=20&frameMax=8192`;
  const connection = await broker.connect(uri, { clientProperties: { connection_name: 'compat: options' } });
  const { serverProperties } = connection.connection;
  expect('product', serverProperties.product, 'RabbitMQ');
  for (const capability of ['basic.nack', 'consumer_cancel_notify', 'publisher_confirms', 'exchange_exchange_bindings']) {
    expect(capability, serverProperties.capabilities[capability], true);
  }
  const { heartbeat, channelMax, frameMax } = connection.connection;
  expect('tuned', [heartbeat, channelMax, frameMax], [7, 20, 8192]);
  const channel = await broker.channel(connection);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  channel.sendToQueue(queue, Buffer.alloc(100_000, 'x')); // in frames of 8192
  expect('body', (await take(channel, queue)).content.length, 100_000);

  for (const [wrong, reason] of [
    [broker.uri.replace('guest:guest', 'guest:wrong'), /403 \(ACCESS-REFUSED\)/],
    [`${broker.uri}no-such-vhost`, /got <ConnectionClose/], // amqplib says no more
  ]) {
    const refused = await broker.connect(wrong).catch((error) => error);
    expect(`${wrong}: ${refused.message}`, reason.test(refused.message), true);
  }
}

export async function tls(broker) {
  const uri = given('COMPAT_URI_TLS');
  const connection = await broker.connect(uri, { ca: [readFileSync(given('COMPAT_CA'))] });
  const channel = await broker.channel(connection);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  channel.sendToQueue(queue, Buffer.alloc(600_000, 'secret'));
  expect('body', (await take(channel, queue)).content.equals(Buffer.alloc(600_000, 'secret')), true);
}

export async function missingExchange(broker) {
  const connection = await broker.connect();
  const doomed = await broker.doomedChannel(connection);
  doomed.publish(`${broker.prefix}.missing`, 'k', Buffer.from('lost'), {}, () => {});
  const { code, message } = await within(PATIENCE_MS, 'the refusal', doomed.closed);
  expect('reply code', code, 404);
  expect(message, message.includes(`NOT_FOUND - no exchange '${broker.prefix}.missing' in vhost '/'`), true);
  await broker.channel(connection);
}

export async function permissionDenied(broker) {
  const connection = await broker.connect(given('COMPAT_URI_LIMITED'));
  const channel = await broker.channel(connection);
  const { queue } = await channel.assertQueue(`allowed.${broker.prefix}`);
  await channel.deleteQueue(queue);
  for (const forbidden of [
    (each) => each.assertQueue(broker.prefix),
    (each) => each.publish('amq.fanout', '', Buffer.from('x'), {}, () => {}),
    (each) => each.assertExchange('allowed.x', 'direct', { alternateExchange: 'no' }),
  ]) {
    const doomed = await broker.doomedChannel(connection);
    Promise.resolve(forbidden(doomed)).catch(() => {});
    const { code, message } = await within(PATIENCE_MS, 'the refusal', doomed.closed);
    expect(message, [code, message.includes('ACCESS_REFUSED')], [403, true]);
  }
}

// The broker is restarted under a publisher: amqplib tells of it, and the application connects anew.
export async function recovery(broker) {
  given('COMPAT_CONTROL');
  const queues = [broker.queue('quorum'), broker.queue('classic')];
  const connection = await broker.connect();
  connection.removeListener('error', broker.fail).on('error', () => {});
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  const confirmed = [];
  for (const queue of queues) {
    await channel.assertQueue(queue, { arguments: { 'x-queue-type': queue.split('.').at(-1) } });
    for (let number = 0; number < 100; number += 1) {
      channel.sendToQueue(queue, Buffer.from(`${queue} ${number}`), { persistent: true });
      confirmed.push(`${queue} ${number}`);
    }
  }
  await channel.waitForConfirms();
  const closed = once(connection, 'close');
  await control('restart');
  await within(PATIENCE_MS, 'the end of the connection', closed);
  const again = await broker.channel();
  const received = new Set();
  for (const queue of queues) await again.consume(queue, (message) => received.add(message.content.toString()), { noAck: true });
  await until('all that was confirmed', () => received.size === 200);
  expect('received', [...received].sort(), confirmed.sort());
}

export async function blocked(broker) {
  given('COMPAT_BLOCK');
  const queue = broker.queue('blocked');
  const connection = await broker.connect();
  const [isBlocked, isUnblocked] = [once(connection, 'blocked'), once(connection, 'unblocked')];
  const channel = await broker.channel(connection);
  await channel.assertQueue(queue);
  await control('block');
  try {
    channel.sendToQueue(queue, Buffer.from('waits'));
    const [reason] = await within(PATIENCE_MS, 'blocked', isBlocked);
    expect(reason, reason.startsWith('low on '), true);
  } finally {
    await control('unblock');
  }
  await within(PATIENCE_MS, 'unblocked', isUnblocked);
  await until('the message', async () => (await depth(channel, queue)) === 1);
}
