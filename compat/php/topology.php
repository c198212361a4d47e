<?php
// Exchanges, connections, what is refused, and what fails.

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPConnectionConfig;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

function alternateExchange(Broker $broker): void
{
    $channel = $broker->channel();
    $other = exchange($channel, $broker->exchange('other'), 'fanout');
    $main = exchange($channel, $broker->exchange('main'), 'direct', ['alternate-exchange' => $other]);
    $queue = durable($channel, $broker->queue('unrouted'));
    $channel->queue_bind($queue, $other);
    $returned = 0;
    $channel->set_return_listener(function () use (&$returned) {
        $returned++;
    });
    $channel->confirm_select();
    $channel->basic_publish(text('caught'), $main, 'nobody', true);
    $channel->wait_for_pending_acks_returns(PATIENCE);
    $got = take($channel, $queue);
    expect('message', [$got->getExchange(), $got->getRoutingKey(), $got->getBody()], [$main, 'nobody', 'caught']);
    expect('returned', $returned, 0);
}

function exchangeToExchange(Broker $broker): void
{
    $channel = $broker->channel();
    $source = exchange($channel, $broker->exchange('source'), 'topic');
    $middle = exchange($channel, $broker->exchange('middle'), 'fanout');
    $queue = durable($channel, $broker->queue('end'));
    $channel->queue_bind($queue, $middle);
    $channel->exchange_bind($middle, $source, 'a.#');
    foreach (['a.b', 'b.a'] as $key) {
        $channel->basic_publish(text($key), $source, $key);
    }
    expect('message', take($channel, $queue)->getBody(), 'a.b');
    $channel->exchange_unbind($middle, $source, 'a.#');
    $channel->confirm_select();
    $channel->basic_publish(text('to nobody'), $source, 'a.b');
    $channel->wait_for_pending_acks(PATIENCE);
    expect('left', depth($channel, $queue), 0);
}

function headersExchange(Broker $broker): void
{
    $channel = $broker->channel();
    $name = exchange($channel, $broker->exchange('headers'), 'headers');
    $queues = [];
    foreach (['all', 'any'] as $match) {
        $queues[$match] = temporary($channel);
        foreach ([['x-match' => $match, 'format' => 'pdf', 'pages' => 3], ['x-match' => 'all', 'end' => true]] as $arguments) {
            $channel->queue_bind($queues[$match], $name, '', false, new AMQPTable($arguments));
        }
    }
    $texts = ['both' => ['format' => 'pdf', 'pages' => 3], 'one' => ['format' => 'pdf', 'pages' => 4], 'none' => ['format' => 'txt']];
    foreach ($texts + ['end' => ['end' => true]] as $label => $headers) {
        $channel->basic_publish(text($label, [], $headers), $name);
    }
    expect('all', textsUntil('end', $channel, $queues['all']), ['both']);
    expect('any', textsUntil('end', $channel, $queues['any']), ['both', 'one']);
}

function exclusiveQueues(Broker $broker): void
{
    [$owner, $stranger] = [$broker->connect(), $broker->connect()];
    $queue = temporary($owner->channel());
    expect("named by the server: $queue", str_starts_with($queue, 'amq.gen-'), true);
    expect('to another connection', refusal(fn () => depth($stranger->channel(), $queue))[0], 405);
    $owner->close();
    until('it goes with its connection', fn () => refusal(fn () => depth($stranger->channel(), $queue))[0] === 404);
}

function autoDelete(Broker $broker): void
{
    $name = "$broker->prefix.fleeting";
    $connection = $broker->connect();
    $channel = $connection->channel();
    $channel->exchange_declare($name, 'fanout', false, true, true);
    $channel->queue_declare($name, false, true, false, true);
    $channel->queue_bind($name, $name);
    $tag = consume($channel, $name, fn () => null);
    expect('while it is consumed from', $channel->queue_declare($name, true)[2], 1);
    $channel->basic_cancel($tag);
    expect('the queue', refusal(fn () => depth($connection->channel(), $name))[0], 404);
    expect('the exchange', refusal(fn () => $connection->channel()->exchange_declare($name, 'fanout', true))[0], 404);
}

function manyChannels(Broker $broker): void
{
    $connection = $broker->connect();
    $queue = durable($connection->channel(), $broker->queue('many'));
    [$channels, $seen] = [[], []];
    for ($number = 0; $number < 200; $number++) {
        $channels[] = $channel = $connection->channel();
        consume($channel, $queue, function (AMQPMessage $message) use (&$seen, $number) {
            $seen[$number] = true;
            $message->ack();
        });
    }
    foreach ($channels as $channel) {
        $channel->basic_publish(text('x'), '', $queue);
    }
    foreach ($channels as $number => $channel) {
        until("a message for $number", function () use (&$seen, $number) {
            return isset($seen[$number]);
        }, $channel);
    }
}

function connectionOptions(Broker $broker): void
{
    $connection = $broker->connect(given('COMPAT_URI_VHOST'), function (AMQPConnectionConfig $config) {
        $config->setHeartbeat(7);
        $config->setReadTimeout(20);
        $config->setWriteTimeout(20);
        $config->setConnectionName('compat: options');
        $config->setLoginMethod('PLAIN'); // the other connections are made by AMQPLAIN
    });
    expect('heartbeat', $connection->getHeartbeat(), 7);
    expect('product', $connection->getServerProperties()['product'][1], 'RabbitMQ');
    $channel = $connection->channel();
    $queue = temporary($channel);
    $channel->basic_publish(text(str_repeat('x', 1_000_000)), '', $queue); // in several frames
    expect('body', take($channel, $queue)->getBodySize(), 1_000_000);

    $wrong = str_replace('guest:guest', 'guest:wrong', $broker->uri);
    try {
        $broker->connect($wrong);
        throw new Exception('let in with a wrong password');
    } catch (AMQPConnectionClosedException $refused) {
        expect($refused->getMessage(), str_starts_with($refused->getMessage(), 'ACCESS_REFUSED - Login was refused'), true);
    }
    try {
        $broker->connect($broker->uri . 'no-such-vhost');
        throw new Exception('let into a vhost that is not there');
    } catch (AMQPConnectionClosedException $refused) {
        expect('a vhost that is not there', $refused->getCode(), 530);
    }
}

function tls(Broker $broker): void
{
    $authority = given('COMPAT_CA');
    $connection = $broker->connect(given('COMPAT_URI_TLS'), function (AMQPConnectionConfig $config) use ($authority) {
        $config->setIsSecure(true);
        $config->setNetworkProtocol('tls');
        $config->setSslCaCert($authority);
        $config->setSslVerify(true);
        $config->setSslVerifyName(true);
    });
    $channel = $connection->channel();
    $queue = temporary($channel);
    $channel->basic_publish(text(str_repeat('secret', 100_000)), '', $queue);
    expect('body', take($channel, $queue)->getBodySize(), 600_000);
}

function publishConfirmed(AMQPChannel $channel, string $exchange): void
{
    $channel->confirm_select();
    $channel->basic_publish(text('lost'), $exchange, 'k');
    $channel->wait_for_pending_acks(PATIENCE);
}

function missingExchange(Broker $broker): void
{
    $connection = $broker->connect();
    $name = "$broker->prefix.missing";
    $refused = refusal(fn () => publishConfirmed($connection->channel(), $name));
    expect('reply', $refused, [404, "NOT_FOUND - no exchange '$name' in vhost '/'"]);
    expect('another channel', $connection->channel()->is_open(), true);
}

function permissionDenied(Broker $broker): void
{
    $connection = $broker->connect(given('COMPAT_URI_LIMITED'));
    $channel = $connection->channel();
    $channel->queue_delete(durable($channel, "allowed.$broker->prefix"));
    $forbidden = [
        'declare' => fn (AMQPChannel $channel) => durable($channel, $broker->prefix),
        'publish' => fn (AMQPChannel $channel) => publishConfirmed($channel, 'amq.fanout'),
        'alternate exchange' => fn (AMQPChannel $channel) => exchange($channel, 'allowed.x', 'direct', ['alternate-exchange' => 'no']),
    ];
    foreach ($forbidden as $what => $function) {
        [$code, $reason] = refusal(fn () => $function($connection->channel()));
        expect($what, [$code, substr($reason, 0, 14)], [403, 'ACCESS_REFUSED']);
    }
}

/** The broker is restarted under a publisher and a consumer: an application of php-amqplib connects anew. */
function recovery(Broker $broker): void
{
    given('COMPAT_CONTROL');
    $connection = $broker->connect();
    $channel = $connection->channel();
    $channel->confirm_select();
    $queues = [];
    foreach (['quorum', 'classic'] as $kind) {
        $queues[] = $queue = durable($channel, $broker->queue($kind), ['x-queue-type' => $kind]);
        for ($number = 0; $number < 100; $number++) {
            $channel->basic_publish(text((string) $number, PERSISTENT), '', $queue);
        }
    }
    $channel->wait_for_pending_acks(PATIENCE);
    control('restart');
    try {
        $channel->wait(null, false, PATIENCE);
        throw new Exception('the connection outlived the broker');
    } catch (AMQPExceptionInterface) {
        $connection->reconnect();
    }
    $channel = $connection->channel();
    foreach ($queues as $queue) {
        for ($number = 0; $number < 100; $number++) {
            expect('kept', take($channel, $queue)->getBody(), (string) $number);
        }
    }
}

function blocked(Broker $broker): void
{
    given('COMPAT_BLOCK');
    $connection = $broker->connect();
    $told = [];
    $connection->set_connection_block_handler(function (string $reason) use (&$told) {
        $told[] = $reason;
    });
    $connection->set_connection_unblock_handler(function () use (&$told) {
        $told[] = 'unblocked';
    });
    $channel = $connection->channel();
    $queue = durable($channel, $broker->queue('blocked'));
    try {
        control('block');
        $channel->basic_publish(text('waits'), '', $queue);
        until('blocked', counted($told, 1), $channel);
        expect($told[0], str_starts_with($told[0], 'low on '), true);
        expect('it is', $connection->isBlocked(), true);
    } finally {
        control('unblock');
    }
    until('unblocked', counted($told, 2), $channel);
    until('the message', fn () => depth($channel, $queue) === 1);
}
