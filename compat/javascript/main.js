// Runs every scenario with amqplib and prints one line for each: node main.js URI [SCENARIO ...]
import { Broker } from './broker.js';
import * as confirms from './confirms.js';
import * as consumers from './consumers.js';
import * as failures from './failures.js';
import { main } from './harness.js';
import * as messages from './messages.js';
import * as patterns from './patterns.js';
import * as topology from './topology.js';

await main(
  {
    'hello-world': patterns.helloWorld,
    'work-queues': patterns.workQueues,
    'publish-subscribe': patterns.publishSubscribe,
    routing: patterns.routing,
    topics: patterns.topics,
    rpc: patterns.rpc,
    'confirms-one-by-one': confirms.oneByOne,
    'confirms-in-batches': confirms.inBatches,
    'confirms-asynchronous': confirms.asynchronous,
    'connection-options': failures.connectionOptions,
    tls: failures.tls,
    get: messages.get,
    acknowledgements: messages.acknowledgements,
    prefetch: consumers.prefetch,
    returns: messages.returns,
    ttl: messages.ttl,
    'dead-letters': messages.deadLetters,
    priorities: messages.priorities,
    delayed: messages.delayed,
    'big-message': messages.bigMessage,
    'header-types': messages.headerTypes,
    'alternate-exchange': topology.alternateExchange,
    'exchange-to-exchange': topology.exchangeToExchange,
    'headers-exchange': topology.headersExchange,
    'exclusive-queues': topology.exclusiveQueues,
    'auto-delete': topology.autoDelete,
    'consumer-cancelled': consumers.cancelled,
    'single-active-consumer': consumers.singleActive,
    'quorum-queue': consumers.quorumQueue,
    stream: consumers.stream,
    'many-channels': consumers.manyChannels,
    'missing-exchange': failures.missingExchange,
    'permission-denied': failures.permissionDenied,
    recovery: failures.recovery,
    blocked: failures.blocked,
  },
  (uri) => new Broker(uri),
);
