// Runs every scenario with amqplib and prints one line for each: node main.js URI
import { Broker, within } from './broker.js';
import * as confirms from './confirms.js';
import * as patterns from './patterns.js';

const SCENARIOS = {
  'hello-world': patterns.helloWorld,
  'work-queues': patterns.workQueues,
  'publish-subscribe': patterns.publishSubscribe,
  routing: patterns.routing,
  topics: patterns.topics,
  rpc: patterns.rpc,
  'confirms-one-by-one': confirms.oneByOne,
  'confirms-in-batches': confirms.inBatches,
  'confirms-asynchronous': confirms.asynchronous,
};
const SCENARIO_MS = 10_000;
const CLEANUP_MS = 2_000;
const PROGRAM_MS = 26_000; // the last scenario's cleanup comes on top

// An error thrown in a consumer's callback fails the scenario, not the program.
let onStrayError;
process.on('unhandledRejection', (error) => onStrayError(error));
process.on('uncaughtException', (error) => onStrayError(error));

const oneLine = (error) => String(error?.message ?? error).replace(/\s+/g, ' ');

// Undefined when the scenario went well, else the reason why it did not.
async function run(scenario, uri, milliseconds) {
  if (milliseconds <= 0) return "not run: the program's time is over";
  const broker = new Broker(uri);
  onStrayError = broker.fail;
  let reason;
  try {
    await within(milliseconds, 'the scenario', Promise.race([scenario(broker), broker.failed]));
  } catch (error) {
    reason = oneLine(error);
  }
  try {
    await within(CLEANUP_MS, 'cleaning up', broker.cleanUp());
  } catch (error) {
    reason ??= `cleaning up: ${oneLine(error)}`;
  }
  return reason;
}

if (process.argv.length !== 3) {
  console.error('usage: node main.js amqp://USER:PASSWORD@HOST:PORT/VHOST');
  process.exit(2);
}
const deadline = Date.now() + PROGRAM_MS;
let failures = 0;
for (const [name, scenario] of Object.entries(SCENARIOS)) {
  const reason = await run(scenario, process.argv[2], Math.min(SCENARIO_MS, deadline - Date.now()));
  if (reason) failures += 1;
  console.log(reason ? `FAILED ${name}: ${reason}` : `ok ${name}`);
}
// Not just the exit code: a scenario that hangs must not keep the program alive.
process.exit(failures ? 1 : 0);
