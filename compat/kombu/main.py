"""Runs scenarios with kombu and prints one line for each: python main.py URI [SCENARIO ...]"""

import socket
import sys
import threading
import time
import uuid
from pathlib import Path

import kombu
from amqp.exceptions import AMQPError
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.mixins import ConsumerMixin, ConsumerProducerMixin
from kombu.pools import producers

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

import harness  # noqa: E402
from harness import Skipped, control, expect, given  # noqa: E402

PATIENCE = 5  # seconds for one expected event
CONFIRMING = {"confirm_publish": True}


class Broker:
    def __init__(self, uri):
        self.uri = uri
        self.prefix = f"compat.kombu.{uuid.uuid4().hex[:12]}"
        self.queues = []
        self.exchanges = []

    def connect(self, uri=None, **settings):
        return Connection(uri or self.uri, connect_timeout=PATIENCE, transport_options=CONFIRMING, **settings)

    def queue(self, label, exchange=None, key="", **settings):
        """A durable queue with a name that no other run uses; clean_up deletes it. kombu binds it where it is declared."""
        self.queues.append(f"{self.prefix}.{label}")
        return Queue(self.queues[-1], exchange, key, durable=True, **settings)

    def exchange(self, label, kind, **settings):
        self.exchanges.append(f"{self.prefix}.{label}")
        return Exchange(self.exchanges[-1], kind, durable=True, **settings)

    def clean_up(self):
        with self.connect() as connection:
            channel = connection.channel()
            for queue in self.queues:
                channel.queue_delete(queue)
            for exchange in self.exchanges:
                channel.exchange_delete(exchange)


def until(what, condition, connection=None):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE} s")
        if connection:
            drain(connection, 0.05)
        else:
            time.sleep(0.02)


def drain(connection, seconds):
    try:
        connection.drain_events(timeout=seconds)
    except socket.timeout:
        pass


def take(queue):
    """One message of a bound queue."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if message := queue.get(no_ack=True):
            return message
        time.sleep(0.02)
    raise TimeoutError(f"no message within {PATIENCE} s in {queue.name}")


def declared(queue, channel):
    queue = queue(channel)
    queue.declare()
    return queue


def depth(queue):
    return queue.queue_declare(passive=True).message_count


def publish(channel, body, queue=None, **settings):
    Producer(channel).publish(body, routing_key=queue.name if queue else settings.pop("routing_key", ""), **settings)


def consuming(channel, queues, seen, **settings):
    """A consumer that keeps what comes, decoded, with its message."""
    return Consumer(channel, queues, callbacks=[lambda body, message: seen.append((body, message))], **settings)


def hello_world(broker):
    """With each of kombu's serializers and compressions that need nothing else."""
    with broker.connect() as connection:
        channel = connection.channel()
        queue = declared(broker.queue("hello"), channel)
        for serializer, compression in ("json", None), ("json", "zlib"), ("pickle", "bzip2"):
            publish(channel, {"greeting": "Grüß Gott"}, queue, serializer=serializer, compression=compression, headers={"tries": 1})
            seen = []
            with consuming(channel, [queue], seen, accept=[serializer], no_ack=True):
                until("the message", lambda: seen, connection)
            body, message = seen[0]
            expect(serializer, (body, message.headers["tries"]), ({"greeting": "Grüß Gott"}, 1))


def work_queues(broker):
    """Workers are made of kombu's ConsumerMixin."""
    queue, counts = broker.queue("tasks"), {"slow": 0, "fast": 0}

    class Worker(ConsumerMixin):
        def __init__(self, name, seconds):
            self.name, self.seconds, self.connection, self.ready = name, seconds, broker.connect(), threading.Event()

        def get_consumers(self, consumer, channel):
            return [consumer([queue], callbacks=[self.on_task], prefetch_count=1)]

        def on_consume_ready(self, *_, **__):
            self.ready.set()

        def on_task(self, _, message):
            time.sleep(self.seconds)
            counts[self.name] += 1
            message.ack()

    workers = [Worker("slow", 0.1), Worker("fast", 0.01)]
    threads = [threading.Thread(target=worker.run, daemon=True) for worker in workers]
    try:
        for worker, thread in zip(workers, threads):
            thread.start()
            worker.ready.wait(PATIENCE)
        with broker.connect() as connection:
            for number in range(30):
                publish(connection.default_channel, number, queue)
            until("all tasks", lambda: sum(counts.values()) == 30)
            expect(f"the fast one does more: {counts}", 0 < counts["slow"] < counts["fast"], True)
    finally:
        for worker, thread in zip(workers, threads):
            worker.should_stop = True
            thread.join(PATIENCE)
            worker.connection.release()


def publish_subscribe(broker):
    news = broker.exchange("news", "fanout")
    with broker.connect() as connection:
        channel, seen = connection.channel(), [[], []]
        consumers = [consuming(channel, [Queue("", news, exclusive=True)], each, no_ack=True) for each in seen]
        for consumer in consumers:
            consumer.consume()
        for headline in "one", "two":
            publish(channel, headline, exchange=news)
        until("the news", lambda: [len(each) for each in seen] == [2, 2], connection)
        expect("headlines", [[body for body, _ in each] for each in seen], [["one", "two"]] * 2)


def routed(broker, kind, interests, keys):
    """Which of the keys came by each interest, a list of patterns that one queue is bound with."""
    exchange = broker.exchange(kind, kind)
    with broker.connect() as connection:
        channel, seen = connection.channel(), {interest: [] for interest in interests}
        for number, interest in enumerate(interests):
            bindings = [kombu.binding(exchange, routing_key=key) for key in (*interest.split(), "end")]
            name = f"{broker.prefix}.{number}"
            consuming(channel, [Queue(name, bindings=bindings, exclusive=True)], seen[interest], no_ack=True).consume()
        for key in (*keys, "end"):
            publish(channel, key, routing_key=key, exchange=exchange)
        until("the ends", lambda: all(each and each[-1][0] == "end" for each in seen.values()), connection)
        return {interest: [body for body, _ in each[:-1]] for interest, each in seen.items()}


def routing(broker):
    keys = ["notice", "critical", "debug", "critical.disk", "critical"]
    wanted = {"critical": ["critical", "critical"], "notice critical": ["notice", "critical", "critical"]}
    expect("severities", routed(broker, "direct", list(wanted), keys), wanted)


def topics(broker):
    wanted = {"home.#": ["home.heat", "home"], "*.heat": ["home.heat", "lab.heat"], "#": ["home.heat", "home", "lab.heat", "a.b.heat"]}
    expect("readings", routed(broker, "topic", list(wanted), wanted["#"]), wanted)


def rpc(broker):
    """The server is kombu's ConsumerProducerMixin."""
    queue = broker.queue("squares")

    class Server(ConsumerProducerMixin):
        def __init__(self):
            self.connection = broker.connect()

        def get_consumers(self, consumer, channel):
            return [consumer([queue], callbacks=[self.on_request], prefetch_count=1)]

        def on_request(self, number, message):
            reply_to, correlation_id = message.properties["reply_to"], message.properties["correlation_id"]
            self.producer.publish(number**2, routing_key=reply_to, correlation_id=correlation_id, retry=True)
            message.ack()

    server = Server()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        with broker.connect() as connection:
            channel, seen = connection.channel(), []
            replies = Queue("", exclusive=True)(channel)
            replies.declare()
            with consuming(channel, [replies], seen, no_ack=True, auto_declare=False):  # nobody may declare such a name
                for number in range(12):
                    Producer(channel).publish(
                        number, routing_key=queue.name, declare=[queue], reply_to=replies.name, correlation_id=str(number),
                    )
                until("twelve answers", lambda: len(seen) == 12, connection)
            answers = {int(message.properties["correlation_id"]): body for body, message in seen}
            expect("squares", answers, {number: number**2 for number in range(12)})
    finally:
        server.should_stop = True
        thread.join(PATIENCE)
        server.connection.release()


def simple_queue(broker):
    """kombu's interface for those who want a queue and nothing else."""
    with broker.connect() as connection, connection.SimpleQueue(broker.queue("simple").name) as queue:
        for number in range(5):
            queue.put({"number": number})
        got = []
        for _ in range(5):
            message = queue.get(timeout=PATIENCE)
            got.append(message.payload["number"])
            message.ack()
        expect("in order", got, list(range(5)))
        expect("left", queue.qsize(), 0)
    # What the simple queue made beside its queue.
    broker.exchanges.append(broker.queues[0])


def confirms(broker):
    """With `confirm_publish` kombu waits for each confirm; a pool of producers shares connections."""
    with broker.connect() as connection:
        queue = broker.queue("confirms", broker.exchange("confirms", "direct"), "k")
        with producers[connection].acquire(block=True) as producer:
            for number in range(50):
                producer.publish(number, exchange=queue.exchange, routing_key="k", declare=[queue], retry=True, delivery_mode=2)
        expect("depth", depth(queue(connection.default_channel)), 50)


def acknowledgements(broker):
    with broker.connect() as connection:
        channel, seen = connection.channel(), []
        queue = declared(broker.queue("acks"), channel)
        for number in range(4):
            publish(channel, number, queue)
        with consuming(channel, [queue], seen, prefetch_count=2) as consumer:
            until("two", lambda: len(seen) == 2, connection)
            drain(connection, 0.2)
            expect("as many as wanted", len(seen), 2)
            seen[1][1].requeue()
            until("it again", lambda: len(seen) == 3, connection)
            expect("again", (seen[2][0], seen[2][1].delivery_info["redelivered"]), (1, True))
            seen[0][1].ack()
            until("the next", lambda: len(seen) == 4, connection)
            seen[2][1].reject()
            seen[3][1].ack()
            until("the last", lambda: len(seen) == 5, connection)
            consumer.recover(requeue=True)
            until("the last again", lambda: len(seen) == 6, connection)
            expect("the last", (seen[5][0], seen[5][1].delivery_info["redelivered"]), (3, True))
            seen[5][1].ack()
        expect("left", depth(queue), 0)


def get(broker):
    with broker.connect() as connection:
        queue = declared(broker.queue("get"), connection.channel())
        expect("from an empty queue", queue.get(), None)
        publish(connection.default_channel, "one", queue)
        message = queue.get(no_ack=False)
        expect("body", message.payload, "one")
        message.requeue()
        message = queue.get(no_ack=False)
        expect("again", message.delivery_info["redelivered"], True)
        message.ack()
        expect("purged", queue.purge(), 0)


def returns(broker):
    came = []
    with broker.connect() as connection:
        producer = Producer(connection.channel(), on_return=lambda error, *rest: came.append((error.reply_code, rest[1])))
        producer.publish("lost", routing_key=f"{broker.prefix}.missing", mandatory=True)
        until("the return", lambda: came, connection)
        expect("returned", came, [(312, f"{broker.prefix}.missing")])


def ttl(broker):
    with broker.connect() as connection:
        channel = connection.channel()
        short = declared(broker.queue("short", message_ttl=0.1), channel)
        long = declared(broker.queue("long"), channel)
        gone = declared(broker.queue("gone", expires=0.2), channel)
        publish(channel, "by the queue", short)
        publish(channel, "by itself", long, expiration=0.1)
        publish(channel, "stays", long)
        until("the short queue is empty", lambda: depth(short) == 0)
        until("one message is left", lambda: depth(long) == 1)
        expect("left", take(long).payload, "stays")
        time.sleep(0.5)
        expect("the unused queue", refusal(depth, gone(connection.channel())), 404)


def refusal(function, *arguments, **settings):
    try:
        function(*arguments, **settings)
    except AMQPError as error:
        return error.reply_code
    raise AssertionError("not refused")


def dead_letters(broker):
    retry = broker.exchange("retry", "direct")
    dead = broker.queue("dead", retry, "dead")
    with broker.connect() as connection:
        channel, seen = connection.channel(), []
        arguments = {"x-dead-letter-exchange": retry.name, "x-dead-letter-routing-key": "dead"}
        work, dead = declared(broker.queue("work", queue_arguments=arguments), channel), declared(dead, channel)
        publish(channel, "job", work)
        with consuming(channel, [work], seen):
            until("the job", lambda: seen, connection)
            seen[0][1].reject()
        death = take(dead).headers["x-death"][0]
        expect("death", (death["queue"], death["reason"], death["count"]), (work.name, "rejected", 1))


def priorities(broker):
    with broker.connect() as connection:
        channel = connection.channel()
        queue = declared(broker.queue("priorities", max_priority=5), channel)
        for number, priority in enumerate([0, 5, 1, 9, 1]):
            publish(channel, number, queue, priority=priority)
        expect("order", [take(queue).payload for _ in range(5)], [1, 3, 2, 4, 0])


def delayed(broker):
    exchange = Exchange(f"{broker.prefix}.delayed", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
    with broker.connect() as connection:
        try:
            exchange(connection.channel()).declare()
        except AMQPError as error:
            raise Skipped(f"the broker has no such exchange: {error}") from None
        broker.exchanges.append(exchange.name)
        queue = declared(broker.queue("delayed", exchange, "k"), connection.channel())
        for body, headers in ("later", {"x-delay": 400}), ("at once", {}):
            publish(connection.default_channel, body, exchange=exchange, routing_key="k", headers=headers)
        expect("order", [take(queue).payload for _ in range(2)], ["at once", "later"])


def alternate_exchange(broker):
    other = broker.exchange("other", "fanout")
    main = broker.exchange("main", "direct", arguments={"alternate-exchange": other.name})
    with broker.connect() as connection:
        channel = connection.channel()
        queue = declared(broker.queue("unrouted", other), channel)
        publish(channel, "caught", exchange=main, routing_key="nobody", declare=[main])
        expect("message", take(queue).delivery_info["exchange"], main.name)


def exchange_to_exchange(broker):
    source, middle = broker.exchange("source", "topic"), broker.exchange("middle", "fanout")
    with broker.connect() as connection:
        channel = connection.channel()
        queue = declared(broker.queue("end", middle), channel)
        source(channel).declare()
        middle(channel).bind_to(source, "a.#")
        for key in "a.b", "b.a":
            publish(channel, key, exchange=source, routing_key=key)
        expect("message", take(queue).payload, "a.b")
        middle(channel).unbind_from(source, "a.#")
        publish(channel, "to nobody", exchange=source, routing_key="a.b")
        expect("left", depth(queue), 0)


def headers_exchange(broker):
    exchange = broker.exchange("headers", "headers")
    with broker.connect() as connection:
        channel, queues = connection.channel(), {}
        for match in "all", "any":
            arguments = {"x-match": match, "format": "pdf", "pages": 3}
            queues[match] = declared(broker.queue(match, exchange, binding_arguments=arguments), channel)
        for headers in {"format": "pdf", "pages": 3}, {"format": "pdf", "pages": 4}, {"format": "txt"}:
            publish(channel, str(headers), exchange=exchange, headers=headers)
        expect("depths", {match: depth(queue) for match, queue in queues.items()}, {"all": 1, "any": 2})


def exclusive_queues(broker):
    with broker.connect() as stranger:
        with broker.connect() as owner:
            queue = declared(Queue("", exclusive=True), owner.channel())
            expect(f"named by the server: {queue.name}", queue.name.startswith("amq.gen-"), True)
            expect("to another connection", refusal(depth, queue(stranger.channel())), 405)
        until("it goes with its connection", lambda: refusal(depth, queue(stranger.channel())) == 404)


def auto_delete(broker):
    fleeting = Exchange(f"{broker.prefix}.fleeting", "fanout", durable=True, auto_delete=True)
    queue = Queue(fleeting.name, fleeting, durable=True, auto_delete=True)
    with broker.connect() as connection:
        with consuming(connection.channel(), [queue], []):
            queue(connection.default_channel).queue_declare(passive=True)
        expect("the queue", refusal(depth, queue(connection.channel())), 404)
        expect("the exchange", refusal(fleeting(connection.channel()).declare, passive=True), 404)


def cancelled(broker):
    told = []
    with broker.connect() as connection, broker.connect() as other:
        queue = broker.queue("cancelled", on_declared=lambda *_: None)
        with consuming(connection.channel(), [queue], []):
            queue(other.channel()).delete()
            try:
                until("the cancellation", lambda: told, connection)
            except kombu.exceptions.OperationalError as error:
                told.append(error)
            except connection.connection_errors + connection.channel_errors as error:
                told.append(error)
        expect("told", [type(error).__name__ for error in told], ["ConsumerCancelled"])


def quorum_queue(broker):
    with broker.connect() as connection:
        channel, seen = connection.channel(), []
        dead = declared(broker.queue("dead"), channel)
        arguments = {
            "x-queue-type": "quorum", "x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name,
        }
        queue = declared(broker.queue("quorum", queue_arguments=arguments), channel)
        publish(channel, "poison", queue)
        with consuming(channel, [queue], seen):
            for times in 1, 2, 3:
                until("a delivery", lambda: len(seen) == times, connection)
                seen[-1][1].requeue()
            expect("delivery counts", [message.headers.get("x-delivery-count") for _, message in seen], [None, 1, 2])
        expect("given up", take(dead).headers["x-death"][0]["reason"], "delivery_limit")


def stream(broker):
    with broker.connect() as connection:
        channel = connection.channel()
        settings = {"queue_arguments": {"x-queue-type": "stream"}}
        queue = broker.queue("stream", **settings)
        declared(queue, channel)
        for number in range(20):
            publish(channel, number, queue)
        for offset, wanted in ("first", list(range(20))), (15, list(range(15, 20))):
            reader, seen = connection.channel(), []
            reading = Queue(queue.name, durable=True, consumer_arguments={"x-stream-offset": offset}, **settings)
            with consuming(reader, [reading], seen, prefetch_count=50):
                until(f"messages from {offset}", lambda: len(seen) == len(wanted), connection)
            expect("messages", [body for body, _ in seen], wanted)
            expect("offsets", [message.headers["x-stream-offset"] for _, message in seen], wanted)
            reader.close()


def tls(broker):
    with broker.connect(given("COMPAT_URI_TLS"), ssl={"ca_certs": given("COMPAT_CA"), "server_hostname": "localhost"}) as connection:
        queue = declared(Queue("", exclusive=True), connection.channel())
        publish(connection.default_channel, "secret" * 100_000, queue)
        expect("size", len(take(queue).payload), 600_000)


def connection_options(broker):
    with broker.connect(given("COMPAT_URI_VHOST"), heartbeat=7, login_method="PLAIN") as connection:
        connection.connect()
        expect("heartbeat", connection.get_heartbeat_interval(), 7)
        expect("vhost", connection.virtual_host, "compat/vhost")
        connection.heartbeat_check()
    for uri, code in (broker.uri.replace("guest:guest", "guest:wrong"), 403), (broker.uri + "no-such-vhost", 530):
        expect(uri, refusal(broker.connect(uri).connect), code)


def missing_exchange(broker):
    with broker.connect() as connection:
        expect("code", refusal(publish, connection.channel(), "lost", exchange=f"{broker.prefix}.missing"), 404)
        connection.channel()


def permission_denied(broker):
    with broker.connect(given("COMPAT_URI_LIMITED")) as connection:
        queue = declared(Queue(f"allowed.{broker.prefix}", durable=True), connection.channel())
        queue.delete()
        expect("declare", refusal(declared, Queue(broker.prefix, durable=True), connection.channel()), 403)
        expect("publish", refusal(publish, connection.channel(), "x", exchange="amq.fanout"), 403)


def recovery(broker):
    """The broker is restarted: a ConsumerMixin consumes again, and a publish with `retry` finds its way."""
    given("COMPAT_CONTROL")
    queue, seen = broker.queue("recovery", queue_arguments={"x-queue-type": "quorum"}), []
    with broker.connect() as connection:
        declared(queue, connection.channel())
        for number in range(100):
            publish(connection.default_channel, number, queue, delivery_mode=2)
        control("restart")
        retry = {"max_retries": 20, "interval_start": 0.1, "interval_step": 0.2}
        Producer(connection).publish("after", routing_key=queue.name, retry=True, retry_policy=retry)

    class Reader(ConsumerMixin):
        def __init__(self):
            self.connection = broker.connect()

        def get_consumers(self, consumer, channel):
            return [consumer([queue], callbacks=[lambda body, message: (seen.append(body), message.ack())])]

    reader = Reader()
    thread = threading.Thread(target=reader.run, daemon=True)
    thread.start()
    try:
        until("all that was confirmed", lambda: len(seen) == 101)
        control("restart")
        with broker.connect() as connection:
            publish(connection.default_channel, "again", queue)
        until("the reader's return", lambda: seen[-1] == "again")
        expect("received", seen, [*range(100), "after", "again"])
    finally:
        reader.should_stop = True
        thread.join(PATIENCE)
        reader.connection.release()


SCENARIOS = {
    "hello-world": hello_world,
    "work-queues": work_queues,
    "publish-subscribe": publish_subscribe,
    "routing": routing,
    "topics": topics,
    "rpc": rpc,
    "confirms-one-by-one": confirms,
    "connection-options": connection_options,
    "tls": tls,
    "get": get,
    "acknowledgements": acknowledgements,
    "returns": returns,
    "ttl": ttl,
    "dead-letters": dead_letters,
    "priorities": priorities,
    "delayed": delayed,
    "alternate-exchange": alternate_exchange,
    "exchange-to-exchange": exchange_to_exchange,
    "headers-exchange": headers_exchange,
    "exclusive-queues": exclusive_queues,
    "auto-delete": auto_delete,
    "consumer-cancelled": cancelled,
    "quorum-queue": quorum_queue,
    "stream": stream,
    "missing-exchange": missing_exchange,
    "permission-denied": permission_denied,
    "recovery": recovery,
    "kombu-simple-queue": simple_queue,
}

if __name__ == "__main__":
    harness.main(SCENARIOS, Broker)
