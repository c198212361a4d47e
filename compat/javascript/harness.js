// Plays scenarios and prints a line for each, for every JavaScript client.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

export const PATIENCE_MS = 4_000; // for one expected event
const SCENARIO_MS = 15_000;
const LONG_MS = 70_000; // where the broker is restarted
const CLEANUP_MS = 5_000;
const LONG = new Set(['recovery', 'blocked', 'amqp-client-recovery', 'connection-manager-recovery']);

// The scenario cannot be played here, and why.
export class Skipped extends Error {}

// What the runner says about the broker (see compat/runner/brokers.py).
export function given(variable) {
  if (!process.env[variable]) throw new Skipped(`${variable} is not given`);
  return process.env[variable];
}

// Has the runner do something to the broker, and waits until it has.
export async function control(action) {
  const answer = await fetch(`${given('COMPAT_CONTROL')}/${action}`, { method: 'POST' });
  if (!answer.ok) throw new Error(`${action}: ${await answer.text()}`);
}

// The promise's own outcome, or a rejection when it takes longer.
export async function within(milliseconds, what, promise) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not finished after ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

// Waits until the condition, which may be asynchronous, holds.
export async function until(what, condition, milliseconds = PATIENCE_MS) {
  const deadline = Date.now() + milliseconds;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${milliseconds} ms`);
    await sleep(20);
  }
}

export function expect(what, actual, wanted) {
  try {
    assert.deepStrictEqual(actual, wanted);
  } catch {
    const show = (value) => JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? String(each) : each));
    throw new Error(`${what}: got ${show(actual)}, wanted ${show(wanted)}`);
  }
}

// An error thrown in a consumer's callback fails the scenario, not the program.
let onStrayError;
process.on('unhandledRejection', (error) => onStrayError(error));
process.on('uncaughtException', (error) => onStrayError(error));

const oneLine = (error) => String(error?.message ?? error).replace(/\s+/g, ' ').slice(0, 300);

async function play(scenario, broker, milliseconds) {
  onStrayError = broker.fail;
  let outcome = ['ok'];
  try {
    await within(milliseconds, 'the scenario', Promise.race([scenario(broker), broker.failed]));
  } catch (error) {
    outcome = [error instanceof Skipped ? 'skipped' : 'FAILED', oneLine(error)];
  }
  try {
    await within(CLEANUP_MS, 'cleaning up', broker.cleanUp());
  } catch (error) {
    if (outcome[0] === 'ok') outcome = ['FAILED', `cleaning up: ${oneLine(error)}`];
  }
  return outcome;
}

// Scenarios are name -> function(broker); a broker has fail, failed and cleanUp.
export async function main(scenarios, makeBroker) {
  const [uri, ...only] = process.argv.slice(2);
  if (!uri) {
    console.error(`usage: node ${process.argv[1]} amqp://USER:PASSWORD@HOST:PORT/VHOST [SCENARIO ...]`);
    process.exit(2);
  }
  const chosen = Object.keys(scenarios).filter((name) => !only.length || only.includes(name));
  console.log('scenarios', ...chosen);
  let failures = 0;
  for (const name of chosen) {
    const [outcome, reason] = await play(scenarios[name], makeBroker(uri), LONG.has(name) ? LONG_MS : SCENARIO_MS);
    if (outcome === 'FAILED') failures += 1;
    console.log(`${outcome} ${name}${reason ? `: ${reason}` : ''}`);
  }
  // Not just the exit code: a scenario that hangs must not keep the program alive.
  process.exit(failures ? 1 : 0);
}
