// Publisher confirms: waiting for each message, for a batch, and not waiting at all.
import { EventEmitter, once } from 'node:events';
import { promisify } from 'node:util';
import { PATIENCE_MS, depth, expect, within } from './broker.js';

export async function oneByOne(broker) {
  const queue = broker.queue('one');
  const channel = await broker.confirmChannel();
  await channel.assertQueue(queue, { durable: true });
  const publish = promisify(channel.sendToQueue.bind(channel));
  const options = { persistent: true, mandatory: true };

  for (let number = 1; number <= 20; number += 1) {
    await within(PATIENCE_MS, 'confirm', publish(queue, Buffer.from(`order ${number}`), options));
    expect('queue depth', await depth(channel, queue), number);
  }

  let returned;
  let returnedFirst;
  channel.once('return', (message) => {
    returned = message;
  });
  const lost = new Promise((resolve, reject) => {
    channel.sendToQueue(broker.queue('missing'), Buffer.from('lost'), options, (error) => {
      returnedFirst = returned !== undefined;
      if (error) reject(error);
      else resolve();
    });
  });
  await within(PATIENCE_MS, 'confirm', lost);
  expect('returned before its confirm', returnedFirst, true);
  expect('returned', returned.content.toString(), 'lost');
  expect('reply code', returned.fields.replyCode, 312);
}

export async function inBatches(broker) {
  const queue = broker.queue('batch');
  const channel = await broker.confirmChannel();
  await channel.assertQueue(queue, { durable: true });
  for (let batch = 1; batch <= 10; batch += 1) {
    for (let number = 0; number < 50; number += 1) {
      channel.sendToQueue(queue, Buffer.from(`order ${number}`), { persistent: true });
    }
    await within(PATIENCE_MS, 'batch', channel.waitForConfirms());
    expect('queue depth', await depth(channel, queue), batch * 50);
  }
}

// Up to `limit` messages are outstanding, and every 100th cannot be routed.
export async function asynchronous(broker) {
  const [total, limit, lost] = [2000, 1000, 100];
  const queue = broker.queue('async');
  const missing = broker.queue('missing');
  const channel = await broker.confirmChannel();
  await channel.assertQueue(queue, { durable: true });

  const outstanding = new Set();
  const returned = new Set();
  const problems = [];
  const progress = new EventEmitter();
  channel.on('return', ({ fields, properties: { messageId } }) => {
    if (fields.replyCode !== 312) problems.push(`returned with ${fields.replyCode} ${fields.replyText}`);
    returned.add(Number(messageId));
  });
  const onConfirm = (number, error) => {
    if (error) problems.push(`message ${number} was refused: ${error.message}`);
    if (number % lost === 0 && !returned.has(number)) {
      problems.push(`message ${number} was confirmed before it was returned`);
    }
    outstanding.delete(number);
    progress.emit('confirm');
  };

  for (let number = 1; number <= total; number += 1) {
    while (outstanding.size >= limit) await within(PATIENCE_MS, 'confirms', once(progress, 'confirm'));
    outstanding.add(number);
    const goesOn = channel.publish(
      '',
      number % lost === 0 ? missing : queue,
      Buffer.from(`order ${number}`),
      { persistent: true, mandatory: true, messageId: String(number) },
      (error) => onConfirm(number, error),
    );
    if (!goesOn) await within(PATIENCE_MS, 'drain', once(channel, 'drain'));
  }
  await within(PATIENCE_MS, 'confirms', channel.waitForConfirms());

  if (problems.length) throw new Error(problems[0]);
  expect('outstanding', outstanding.size, 0);
  const wanted = Array.from({ length: total / lost }, (_, index) => (index + 1) * lost);
  expect('returned', [...returned].sort((a, b) => a - b), wanted);
  expect('queue depth', await depth(channel, queue), total - wanted.length);
}
