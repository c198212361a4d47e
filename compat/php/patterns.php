<?php
// The six classic patterns, and publisher confirms.

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Message\AMQPMessage;

function helloWorld(Broker $broker): void
{
    [$sender, $receiver] = [$broker->channel(), $broker->channel()];
    $queue = durable($sender, $broker->queue('hello'));
    $sender->basic_publish(text('Grüß Gott', ['content_type' => 'text/plain'], ['lang' => 'de', 'tries' => 1]), '', $queue);
    $got = null;
    consume($receiver, $queue, function (AMQPMessage $message) use (&$got) {
        $got = $message;
    }, true);
    until('the message', function () use (&$got) {
        return $got;
    }, $receiver);
    expect('body', $got->getBody(), 'Grüß Gott');
    expect('properties', [$got->get('content_type'), headers($got)], ['text/plain', ['lang' => 'de', 'tries' => 1]]);
    expect('delivery', [$got->getExchange(), $got->getRoutingKey(), $got->isRedelivered()], ['', $queue, false]);
}

/** PHP's programs do one thing at a time: the slow worker is the one that looks at its connection more rarely. */
function workQueues(Broker $broker): void
{
    $publisher = $broker->channel();
    $queue = durable($publisher, $broker->queue('tasks'));
    $counts = ['slow' => 0, 'fast' => 0];
    $workers = [];
    foreach (array_keys($counts) as $name) {
        $workers[$name] = $broker->channel();
        $workers[$name]->basic_qos(0, 1, false);
        consume($workers[$name], $queue, function (AMQPMessage $message) use (&$counts, $name) {
            $counts[$name]++;
            $message->ack();
        });
    }
    for ($number = 0; $number < 30; $number++) {
        $publisher->basic_publish(text("task $number", PERSISTENT), '', $queue);
    }
    for ($round = 0; array_sum($counts) < 30 && $round < 200; $round++) {
        serve($workers['fast'], 0.05);
        if ($round % 5 === 0) {
            serve($workers['slow'], 0.05);
        }
    }
    expect('tasks', array_sum($counts), 30);
    expect('the fast one does more: ' . json_encode($counts), 0 < $counts['slow'] && $counts['slow'] < $counts['fast'], true);
    expect('left', depth($publisher, $queue), 0);
}

function publishSubscribe(Broker $broker): void
{
    $news = $broker->exchange('news');
    $publisher = $broker->channel();
    exchange($publisher, $news, 'fanout');
    $subscribers = [];
    for ($number = 0; $number < 2; $number++) {
        $channel = $broker->channel();
        $queue = temporary($channel);
        $channel->queue_bind($queue, $news);
        $subscribers[$queue] = $channel;
    }
    foreach (['one', 'two', 'end'] as $headline) {
        $publisher->basic_publish(text($headline), $news);
    }
    foreach ($subscribers as $queue => $channel) {
        expect('headlines', textsUntil('end', $channel, $queue), ['one', 'two']);
    }
}

/** Publishes the keys, and compares what comes by each list of patterns with what is wanted. */
function routed(AMQPChannel $channel, string $exchange, array $keys, array $interests): void
{
    $queues = [];
    foreach (array_keys($interests) as $patterns) {
        $queues[$patterns] = temporary($channel);
        foreach ([...explode(' ', $patterns), 'end'] as $pattern) {
            $channel->queue_bind($queues[$patterns], $exchange, $pattern);
        }
    }
    foreach ([...$keys, 'end'] as $key) {
        $channel->basic_publish(text($key), $exchange, $key);
    }
    foreach ($interests as $patterns => $wanted) {
        expect($patterns, textsUntil('end', $channel, $queues[$patterns]), $wanted);
    }
}

function routing(Broker $broker): void
{
    $channel = $broker->channel();
    $keys = ['notice', 'critical', 'debug', 'warning', 'critical.disk', 'critical'];
    $interests = ['critical' => ['critical', 'critical'], 'notice warning critical' => ['notice', 'critical', 'warning', 'critical']];
    routed($channel, exchange($channel, $broker->exchange('log'), 'direct'), $keys, $interests);
}

function topics(Broker $broker): void
{
    $channel = $broker->channel();
    $keys = ['home.kitchen.heat', 'home', 'office.lab.heat', 'office.lab.rack.heat'];
    routed($channel, exchange($channel, $broker->exchange('readings'), 'topic'), $keys, [
        'home.#' => [$keys[0], $keys[1]],
        'home.*' => [],
        '*.*.heat' => [$keys[0], $keys[2]],
        '#.heat' => [$keys[0], $keys[2], $keys[3]],
        '#' => $keys,
    ]);
}

function rpc(Broker $broker): void
{
    [$server, $client] = [$broker->channel(), $broker->channel()];
    $queue = durable($server, $broker->queue('squares'));
    consume($server, $queue, function (AMQPMessage $request) {
        $reply = text((string) ((int) $request->getBody()) ** 2, ['correlation_id' => $request->get('correlation_id')]);
        $request->getChannel()->basic_publish($reply, '', $request->get('reply_to'));
        $request->ack();
    });
    $answers = [];
    consume($client, 'amq.rabbitmq.reply-to', function (AMQPMessage $reply) use (&$answers) {
        $answers[(int) $reply->get('correlation_id')] = (int) $reply->getBody();
    }, true);
    for ($number = 0; $number < 12; $number++) {
        $properties = ['reply_to' => 'amq.rabbitmq.reply-to', 'correlation_id' => (string) $number];
        $client->basic_publish(text((string) $number, $properties), '', $queue);
    }
    until('twelve answers', counted($answers, 12), $server, $client);
    ksort($answers);
    expect('squares', $answers, array_map(fn ($number) => $number ** 2, range(0, 11)));
}

function confirmsOneByOne(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('one'));
    $channel->confirm_select();
    for ($number = 1; $number <= 20; $number++) {
        $channel->basic_publish(text('order', PERSISTENT), '', $queue);
        $channel->wait_for_pending_acks(PATIENCE);
        expect('depth', depth($channel, $queue), $number);
    }
}

function confirmsInBatches(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('batch'));
    $channel->confirm_select();
    for ($batch = 1; $batch <= 10; $batch++) {
        for ($number = 0; $number < 50; $number++) {
            $channel->batch_basic_publish(text('order', PERSISTENT), '', $queue);
        }
        $channel->publish_batch();
        $channel->wait_for_pending_acks(PATIENCE);
        expect('depth', depth($channel, $queue), $batch * 50);
    }
}

/** Every 100th message cannot be routed: it is returned, and confirmed afterwards. */
function confirmsAsynchronous(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('async'));
    [$acked, $nacked, $returned] = [0, 0, []];
    $channel->set_ack_handler(function () use (&$acked) {
        $acked++;
    });
    $channel->set_nack_handler(function () use (&$nacked) {
        $nacked++;
    });
    $channel->set_return_listener(function (int $code, string $text, string $exchange, string $key, AMQPMessage $message) use (&$returned) {
        $returned[] = [$code, (int) $message->getBody()];
    });
    $channel->confirm_select();
    for ($number = 1; $number <= 2000; $number++) {
        $key = $number % 100 ? $queue : "$broker->prefix.missing";
        $channel->basic_publish(text((string) $number, PERSISTENT), '', $key, true);
    }
    $channel->wait_for_pending_acks_returns(PATIENCE);
    expect('told of', [$acked, $nacked], [2000, 0]);
    expect('returned', $returned, array_map(fn ($number) => [312, $number], range(100, 2000, 100)));
    expect('depth', depth($channel, $queue), 1980);
}
