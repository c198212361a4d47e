<?php
// Plays scenarios and prints a line for each; and what they share: connections, names of their own, and waiting for messages.

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AbstractConnection;
use PhpAmqpLib\Connection\AMQPConnectionConfig;
use PhpAmqpLib\Connection\AMQPConnectionFactory;
use PhpAmqpLib\Exception\AMQPProtocolException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

const PATIENCE = 5; // seconds for one expected event
const SCENARIO_SECONDS = 20;
const LONG_SECONDS = 70; // where the broker is restarted
const LONG = ['recovery', 'blocked'];
const PERSISTENT = ['delivery_mode' => 2];

class Skipped extends Exception
{
}

/** What the runner says about the broker (see compat/runner/brokers.py). */
function given(string $variable): string
{
    return getenv($variable) ?: throw new Skipped("$variable is not given");
}

/** Has the runner do something to the broker, and waits until it has. */
function control(string $action): void
{
    $request = ['method' => 'POST', 'content' => '', 'header' => 'Content-Length: 0', 'timeout' => LONG_SECONDS];
    $answer = file_get_contents(given('COMPAT_CONTROL') . "/$action", false, stream_context_create(['http' => $request]));
    expect($action, $answer, '');
}

function expect(string $what, mixed $actual, mixed $wanted): void
{
    if ($actual !== $wanted) {
        throw new Exception("$what: got " . json_encode($actual) . ', wanted ' . json_encode($wanted));
    }
}

/** Waits until the condition holds; with channels, what comes on them is taken meanwhile. */
function until(string $what, callable $condition, AMQPChannel ...$channels): void
{
    for ($deadline = microtime(true) + PATIENCE; !$condition();) {
        if (microtime(true) > $deadline) {
            throw new Exception("$what: not within " . PATIENCE . ' s');
        }
        foreach ($channels as $channel) {
            serve($channel, 0.02);
        }
        $channels ?: usleep(20_000);
    }
}

/** Whether as many as wanted have been seen, as a condition to wait for. */
function counted(?array &$seen, int $wanted): callable
{
    return function () use (&$seen, $wanted) {
        return count($seen) === $wanted;
    };
}

/** Takes what comes on the channel, at least for this long if nothing does. */
function serve(AMQPChannel $channel, float $seconds): void
{
    try {
        $channel->wait(null, false, $seconds);
    } catch (AMQPTimeoutException) {
        // nothing came
    }
}

class Broker
{
    public string $prefix;
    public array $queues = [];
    public array $exchanges = [];
    private array $connections = [];

    public function __construct(public string $uri)
    {
        $this->prefix = 'compat.php.' . bin2hex(random_bytes(6));
    }

    public function connect(?string $uri = null, ?callable $adjust = null): AbstractConnection
    {
        $address = parse_url($uri ?? $this->uri);
        $config = new AMQPConnectionConfig();
        $config->setHost($address['host']);
        $config->setPort($address['port'] ?? 5672);
        $config->setUser($address['user']);
        $config->setPassword($address['pass']);
        $config->setVhost(urldecode(substr($address['path'] ?? '/', 1)) ?: '/');
        $config->setConnectionTimeout(PATIENCE);
        $config->setReadTimeout(2 * PATIENCE);
        $config->setWriteTimeout(2 * PATIENCE);
        $config->setChannelRPCTimeout(PATIENCE);
        if ($adjust) {
            $adjust($config);
        }
        return $this->connections[] = AMQPConnectionFactory::create($config);
    }

    public function channel(): AMQPChannel
    {
        return $this->connect()->channel();
    }

    /** A queue name that no other run uses; cleanUp deletes the queue. */
    public function queue(string $label): string
    {
        return $this->queues[] = "$this->prefix.$label";
    }

    /** The same for an exchange. */
    public function exchange(string $label): string
    {
        return $this->exchanges[] = "$this->prefix.$label";
    }

    public function cleanUp(): void
    {
        foreach ($this->connections as $connection) {
            try {
                $connection->close();
            } catch (Throwable) {
                // it had ended already
            }
        }
        $channel = $this->channel();
        foreach ($this->queues as $queue) {
            $channel->queue_delete($queue);
        }
        foreach ($this->exchanges as $exchange) {
            $channel->exchange_delete($exchange);
        }
        $channel->getConnection()->close();
    }
}

function text(string $body, array $properties = [], array $headers = []): AMQPMessage
{
    return new AMQPMessage($body, $headers ? $properties + ['application_headers' => new AMQPTable($headers)] : $properties);
}

function headers(AMQPMessage $message): array
{
    return $message->has('application_headers') ? $message->get('application_headers')->getNativeData() : [];
}

function durable(AMQPChannel $channel, string $queue, array $arguments = []): string
{
    $channel->queue_declare($queue, false, true, false, false, false, new AMQPTable($arguments));
    return $queue;
}

/** A queue named by the server, which goes with its connection. */
function temporary(AMQPChannel $channel): string
{
    return $channel->queue_declare('', false, false, true, false)[0];
}

function exchange(AMQPChannel $channel, string $name, string $kind, array $arguments = []): string
{
    $channel->exchange_declare($name, $kind, false, true, false, false, false, new AMQPTable($arguments));
    return $name;
}

function depth(AMQPChannel $channel, string $queue): int
{
    return $channel->queue_declare($queue, true)[1];
}

function consume(AMQPChannel $channel, string $queue, callable $callback, bool $noAck = false, array $arguments = []): string
{
    return $channel->basic_consume($queue, '', false, $noAck, false, false, $callback, null, new AMQPTable($arguments));
}

/** One message by basic.get, which may take a moment to come. */
function take(AMQPChannel $channel, string $queue): AMQPMessage
{
    until("a message in $queue", function () use ($channel, $queue, &$message) {
        return $message = $channel->basic_get($queue, true);
    });
    return $message;
}

/** The bodies that the queue holds before the one that says it is the last. */
function textsUntil(string $last, AMQPChannel $channel, string $queue): array
{
    $texts = [];
    $tag = consume($channel, $queue, function (AMQPMessage $message) use (&$texts) {
        $texts[] = $message->getBody();
    }, true);
    until("$last in $queue", function () use (&$texts, $last) {
        return in_array($last, $texts, true);
    }, $channel);
    $channel->basic_cancel($tag);
    return array_slice($texts, 0, -1);
}

/** The code and text with which the broker refuses. */
function refusal(callable $function): array
{
    try {
        $function();
    } catch (AMQPProtocolException $error) {
        return [$error->amqp_reply_code, $error->amqp_reply_text];
    }
    throw new Exception('not refused');
}

function outcome(int $seconds, callable $function): array
{
    pcntl_signal(SIGALRM, fn () => throw new Exception("not finished after $seconds s"));
    pcntl_alarm($seconds);
    try {
        $function();
        return ['ok', ''];
    } catch (Skipped $reason) {
        return ['skipped', $reason->getMessage()];
    } catch (Throwable $error) {
        return ['FAILED', get_class($error) . ': ' . substr(preg_replace('/\s+/', ' ', $error->getMessage()), 0, 300)];
    } finally {
        pcntl_alarm(0);
    }
}

function main(array $arguments, array $scenarios): int
{
    if (count($arguments) < 2) {
        fwrite(STDERR, "usage: $arguments[0] amqp://USER:PASSWORD@HOST:PORT/VHOST [SCENARIO ...]\n");
        return 2;
    }
    pcntl_async_signals(true);
    [$uri, $only] = [$arguments[1], array_slice($arguments, 2)];
    $chosen = array_filter(array_keys($scenarios), fn ($name) => !$only || in_array($name, $only, true));
    echo 'scenarios ', implode(' ', $chosen), "\n";
    $failures = 0;
    foreach ($chosen as $name) {
        $broker = new Broker($uri);
        $seconds = in_array($name, LONG, true) ? LONG_SECONDS : SCENARIO_SECONDS;
        [$outcome, $reason] = outcome($seconds, fn () => $scenarios[$name]($broker));
        [$cleaned, $unclean] = outcome(PATIENCE, fn () => $broker->cleanUp());
        if ($outcome === 'ok' && $cleaned !== 'ok') {
            [$outcome, $reason] = ['FAILED', "cleaning up: $unclean"];
        }
        $failures += $outcome === 'FAILED' ? 1 : 0;
        echo $reason === '' ? "$outcome $name\n" : "$outcome $name: $reason\n";
    }
    return $failures ? 1 : 0;
}
