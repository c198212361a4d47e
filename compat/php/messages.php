<?php
// What may happen to a message, and queues and consumers of all kinds.

use PhpAmqpLib\Exception\AMQPProtocolException;
use PhpAmqpLib\Message\AMQPMessage;

const LIMIT = 16 * 1024 * 1024; // the largest message that a broker takes, unless told otherwise

/** A callback that keeps what comes. */
function keeping(?array &$seen): callable
{
    $seen = [];
    return function (AMQPMessage $message) use (&$seen) {
        $seen[] = $message;
    };
}

function get(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('get'));
    expect('from an empty queue', $channel->basic_get($queue), null);
    foreach (['one', 'two'] as $text) {
        $channel->basic_publish(text($text), '', $queue);
    }
    until('both messages', fn () => depth($channel, $queue) === 2);
    foreach ([false, true] as $redelivered) {
        $message = $channel->basic_get($queue);
        $seen = [$message->getBody(), $message->getMessageCount(), $message->isRedelivered()];
        expect('message', $seen, ['one', 1, $redelivered]);
        $redelivered ? $message->ack() : $message->nack(true);
    }
    expect('left', depth($channel, $queue), 1);
}

function acknowledgements(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('acks'));
    for ($number = 0; $number < 6; $number++) {
        $channel->basic_publish(text((string) $number), '', $queue);
    }
    consume($channel, $queue, keeping($seen));
    until('six messages', counted($seen, 6), $channel);
    $seen[1]->ack(true);
    $seen[2]->reject(false);
    $seen[3]->reject(true);
    until('3 again', counted($seen, 7), $channel);
    expect('3 again', [$seen[6]->getBody(), $seen[6]->isRedelivered()], ['3', true]);
    $seen[5]->nack(true, true);
    until('4 and 5 again', counted($seen, 9), $channel);
    $channel->basic_recover(true);
    until('what is left again', counted($seen, 12), $channel);
    $bodies = array_map(fn ($message) => $message->getBody(), array_slice($seen, 9));
    sort($bodies);
    expect('what is left', $bodies, ['3', '4', '5']);
    $seen[11]->ack(true);
    $channel->close();
    expect('left', depth($broker->channel(), $queue), 0);
}

function prefetch(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('prefetch'));
    for ($number = 0; $number < 10; $number++) {
        $channel->basic_publish(text((string) $number), '', $queue);
    }
    until('ten messages', fn () => depth($channel, $queue) === 10);
    $channel->basic_qos(0, 3, false);
    consume($channel, $queue, keeping($seen));
    until('three messages', counted($seen, 3), $channel);
    serve($channel, 0.2);
    expect('at once', count($seen), 3);
    $seen[1]->ack(true);
    until('two more', counted($seen, 5), $channel);
    expect('ready', depth($channel, $queue), 5);
}

function returns(Broker $broker): void
{
    $channel = $broker->channel();
    $came = [];
    $channel->set_return_listener(function (...$return) use (&$came) {
        $came = $return;
    });
    $channel->basic_publish(text('lost', [], ['order' => 7]), '', "$broker->prefix.missing", true);
    until('the return', function () use (&$came) {
        return $came;
    }, $channel);
    [$code, $reason, $exchange, $key, $message] = $came;
    expect('reply', [$code, $reason, $exchange, $key], [312, 'NO_ROUTE', '', "$broker->prefix.missing"]);
    expect('message', [headers($message), $message->getBody()], [['order' => 7], 'lost']);
}

function transactions(Broker $broker): void
{
    [$channel, $observer] = [$broker->channel(), $broker->channel()];
    $queue = durable($channel, $broker->queue('tx'));
    $channel->tx_select();
    $channel->basic_publish(text('rolled back'), '', $queue);
    $channel->tx_rollback();
    $channel->basic_publish(text('committed'), '', $queue);
    expect('before the commit', depth($observer, $queue), 0);
    $channel->tx_commit();
    expect('after the commit', depth($observer, $queue), 1);
    expect('message', take($observer, $queue)->getBody(), 'committed');
}

function ttl(Broker $broker): void
{
    $channel = $broker->channel();
    $short = durable($channel, $broker->queue('short'), ['x-message-ttl' => 100]);
    $long = durable($channel, $broker->queue('long'));
    $gone = durable($channel, $broker->queue('gone'), ['x-expires' => 200]);
    $channel->basic_publish(text('by the queue'), '', $short);
    $channel->basic_publish(text('by itself', ['expiration' => '100']), '', $long);
    $channel->basic_publish(text('stays'), '', $long);
    until('the short queue is empty', fn () => depth($channel, $short) === 0);
    until('one message is left', fn () => depth($channel, $long) === 1);
    expect('left', take($channel, $long)->getBody(), 'stays');
    usleep(500_000);
    expect('the unused queue', refusal(fn () => depth($broker->channel(), $gone))[0], 404);
}

/** Rejected work waits in a queue and comes back; the third time it is given up. */
function deadLetters(Broker $broker): void
{
    $channel = $broker->channel();
    $retry = exchange($channel, $broker->exchange('retry'), 'direct');
    [$work, $waiting] = [$broker->queue('work'), $broker->queue('waiting')];
    durable($channel, $work, ['x-dead-letter-exchange' => $retry, 'x-dead-letter-routing-key' => 'later']);
    durable($channel, $waiting, ['x-message-ttl' => 50, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $work]);
    $channel->queue_bind($waiting, $retry, 'later');
    $channel->basic_publish(text('job'), '', $work);
    $tries = [];
    consume($channel, $work, function (AMQPMessage $job) use (&$tries) {
        $deaths = [];
        foreach (headers($job)['x-death'] ?? [] as $death) {
            $deaths["$death[queue] $death[reason]"] = $death['count'];
        }
        ksort($deaths);
        $tries[] = $deaths;
        count($tries) < 3 ? $job->reject(false) : $job->ack();
    });
    until('three tries', counted($tries, 3), $channel);
    $times = fn (int $count) => ["$waiting expired" => $count, "$work rejected" => $count];
    expect('deaths', $tries, [[], $times(1), $times(2)]);
}

function priorities(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('priorities'), ['x-max-priority' => 5]);
    foreach ([0, 5, 1, 9, 1] as $number => $priority) {
        $channel->basic_publish(text((string) $number, ['priority' => $priority]), '', $queue);
    }
    until('five messages', fn () => depth($channel, $queue) === 5);
    $order = '';
    for ($number = 0; $number < 5; $number++) {
        $order .= take($channel, $queue)->getBody();
    }
    expect('order', $order, '13240');
}

function delayed(Broker $broker): void
{
    $name = "$broker->prefix.delayed";
    try {
        exchange($broker->channel(), $name, 'x-delayed-message', ['x-delayed-type' => 'direct']);
    } catch (AMQPProtocolException $error) {
        throw new Skipped("the broker has no such exchange: {$error->getMessage()}");
    }
    $broker->exchanges[] = $name;
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('delayed'));
    $channel->queue_bind($queue, $name, 'k');
    $begin = microtime(true);
    $channel->basic_publish(text('later', [], ['x-delay' => 400]), $name, 'k');
    $channel->basic_publish(text('at once'), $name, 'k');
    expect('first', take($channel, $queue)->getBody(), 'at once');
    expect('second', take($channel, $queue)->getBody(), 'later');
    expect('not before its time', microtime(true) - $begin >= 0.4, true);
}

function bigMessage(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('big'));
    $channel->confirm_select();
    $large = str_repeat(implode('', array_map('chr', range(0, 255))), LIMIT / 256);
    $channel->basic_publish(text($large, PERSISTENT), '', $queue);
    $channel->wait_for_pending_acks(PATIENCE);
    expect('digest', hash('sha256', take($channel, $queue)->getBody()), hash('sha256', $large));
    $refused = refusal(function () use ($broker, $large, $queue) {
        $doomed = $broker->channel();
        $doomed->confirm_select();
        $doomed->basic_publish(text("$large!"), '', $queue);
        $doomed->wait_for_pending_acks(PATIENCE);
    });
    expect('reply code', $refused[0], 406);
}

function headerTypes(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('headers'));
    $headers = [
        'bool' => true, 'no' => false, 'int' => 7, 'negative' => -(2 ** 31), 'long' => 2 ** 40, 'text' => 'ä€𝄞', 'empty' => '', 'none' => null,
        'bytes' => "\0\xff", 'list' => [1, 'two', [3, null], ['four' => 4]], 'table' => ['deep' => ['deeper' => [true, []]]],
        str_repeat('k', 128) => 'long name',
    ];
    $properties = [
        'content_type' => 'a/b', 'content_encoding' => 'gzip', 'delivery_mode' => 2, 'priority' => 3, 'correlation_id' => 'c', 'reply_to' => 'r',
        'expiration' => '60000', 'message_id' => 'm', 'timestamp' => 1, 'type' => 't', 'user_id' => 'guest', 'app_id' => 'a',
    ];
    $channel->basic_publish(text('', $properties, $headers + ['time' => new DateTime('@1772323199')]), '', $queue);
    $got = take($channel, $queue);
    expect('body', $got->getBody(), '');
    $came = headers($got);
    expect('time', $came['time']->getTimestamp(), 1772323199);
    unset($came['time']);
    ksort($came);
    ksort($headers);
    expect('headers', $came, $headers);
    $came = array_map(fn ($name) => $got->get($name), array_combine(array_keys($properties), array_keys($properties)));
    expect('properties', $came, $properties);
}

/** php-amqplib tells of it by an exception, and the channel lives on. */
function cancelled(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('cancelled'));
    $tag = consume($channel, $queue, keeping($seen));
    $broker->channel()->queue_delete($queue);
    try {
        $channel->wait(null, false, PATIENCE);
        throw new Exception('not told');
    } catch (PhpAmqpLib\Exception\AMQPBasicCancelException $told) {
        expect('consumer', $told->consumerTag, $tag);
    }
    durable($channel, $queue);
}

function singleActive(Broker $broker): void
{
    $channel = $broker->channel();
    $queue = durable($channel, $broker->queue('single'), ['x-single-active-consumer' => true]);
    $got = ['first' => '', 'second' => ''];
    $tags = [];
    foreach (array_keys($got) as $name) {
        $tags[$name] = consume($channel, $queue, function (AMQPMessage $message) use (&$got, $name) {
            $got[$name] .= $message->getBody();
            $message->ack();
        });
    }
    foreach (['1', '2'] as $text) {
        $channel->basic_publish(text($text), '', $queue);
    }
    until('both', function () use (&$got) {
        return $got['first'] === '12';
    }, $channel);
    $channel->basic_cancel($tags['first']);
    $channel->basic_publish(text('3'), '', $queue);
    until("the other's turn", function () use (&$got) {
        return $got['second'] !== '';
    }, $channel);
    expect('got', $got, ['first' => '12', 'second' => '3']);
}

function quorumQueue(Broker $broker): void
{
    $channel = $broker->channel();
    $dead = durable($channel, $broker->queue('dead'));
    $queue = durable($channel, $broker->queue('quorum'), [
        'x-queue-type' => 'quorum', 'x-delivery-limit' => 2, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead,
    ]);
    $channel->basic_publish(text('poison', PERSISTENT), '', $queue);
    $counts = [];
    consume($channel, $queue, function (AMQPMessage $message) use (&$counts) {
        $counts[] = headers($message)['x-delivery-count'] ?? null;
        $message->reject(true);
    });
    until('three deliveries', counted($counts, 3), $channel);
    expect('delivery counts', $counts, [null, 1, 2]);
    $givenUp = take($broker->channel(), $dead);
    expect('given up', [$givenUp->getBody(), headers($givenUp)['x-death'][0]['reason']], ['poison', 'delivery_limit']);
}

function stream(Broker $broker): void
{
    $connection = $broker->connect();
    $channel = $connection->channel();
    $queue = durable($channel, $broker->queue('stream'), ['x-queue-type' => 'stream']);
    $channel->confirm_select();
    for ($number = 0; $number < 20; $number++) {
        $channel->basic_publish(text((string) $number), '', $queue);
    }
    $channel->wait_for_pending_acks(PATIENCE);
    foreach ([['first', range(0, 19)], [15, range(15, 19)], ['next', [20]]] as [$offset, $wanted]) {
        $reader = $connection->channel();
        $reader->basic_qos(0, 5, false);
        $seen = [];
        consume($reader, $queue, function (AMQPMessage $message) use (&$seen) {
            expect('offset', (string) headers($message)['x-stream-offset'], $message->getBody());
            $seen[] = (int) $message->getBody();
            $message->ack();
        }, false, ['x-stream-offset' => $offset]);
        if ($offset === 'next') {
            $channel->basic_publish(text('20'), '', $queue);
        }
        until("messages from $offset", function () use (&$seen, $wanted) {
            return count($seen) >= count($wanted);
        }, $reader);
        expect("from $offset", $seen, $wanted);
        $reader->close();
    }
}
