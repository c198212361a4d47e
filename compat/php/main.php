<?php
// Runs every scenario with php-amqplib and prints one line for each: php main.php URI [SCENARIO ...]

require 'PhpAmqpLib/autoload.php';
require __DIR__ . '/harness.php';
require __DIR__ . '/patterns.php';
require __DIR__ . '/messages.php';
require __DIR__ . '/topology.php';

exit(main($argv, [
    'hello-world' => helloWorld(...),
    'work-queues' => workQueues(...),
    'publish-subscribe' => publishSubscribe(...),
    'routing' => routing(...),
    'topics' => topics(...),
    'rpc' => rpc(...),
    'confirms-one-by-one' => confirmsOneByOne(...),
    'confirms-in-batches' => confirmsInBatches(...),
    'confirms-asynchronous' => confirmsAsynchronous(...),
    'connection-options' => connectionOptions(...),
    'tls' => tls(...),
    'get' => get(...),
    'acknowledgements' => acknowledgements(...),
    'prefetch' => prefetch(...),
    'returns' => returns(...),
    'transactions' => transactions(...),
    'ttl' => ttl(...),
    'dead-letters' => deadLetters(...),
    'priorities' => priorities(...),
    'delayed' => delayed(...),
    'big-message' => bigMessage(...),
    'header-types' => headerTypes(...),
    'alternate-exchange' => alternateExchange(...),
    'exchange-to-exchange' => exchangeToExchange(...),
    'headers-exchange' => headersExchange(...),
    'exclusive-queues' => exclusiveQueues(...),
    'auto-delete' => autoDelete(...),
    'consumer-cancelled' => cancelled(...),
    'single-active-consumer' => singleActive(...),
    'quorum-queue' => quorumQueue(...),
    'stream' => stream(...),
    'many-channels' => manyChannels(...),
    'missing-exchange' => missingExchange(...),
    'permission-denied' => permissionDenied(...),
    'recovery' => recovery(...),
    'blocked' => blocked(...),
]));
