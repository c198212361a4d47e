"""Runs scenarios with py-amqp and prints one line for each: python pyamqp.py URI [SCENARIO ...]"""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

import harness  # noqa: E402
import pyamqp_failures as failures  # noqa: E402
import pyamqp_messages as messages  # noqa: E402
from harness import expect  # noqa: E402
from pyamqp_broker import Broker, body, depth, durable, exchange, serve, temporary, text, texts_until, until  # noqa: E402

PERSISTENT = {"delivery_mode": 2}


def hello_world(broker):
    queue = broker.queue("hello")
    with broker.connect() as sender, broker.connect() as receiver:
        channel = sender.channel()
        durable(channel, queue)
        channel.basic_publish(text("Grüß Gott", content_type="text/plain", application_headers={"lang": "de", "tries": 1}), routing_key=queue)
        got = []
        receiver.channel().basic_consume(queue, no_ack=True, callback=got.append)
        until("the message", lambda: got, receiver)
        expect("body", body(got[0]), "Grüß Gott")
        expect("content type", got[0].content_type, "text/plain")
        expect("headers", got[0].headers, {"lang": "de", "tries": 1})
        delivery = got[0].delivery_info
        expect("delivery", (delivery["exchange"], delivery["routing_key"], bool(delivery["redelivered"])), ("", queue, False))


def work_queues(broker):
    queue = broker.queue("tasks")
    counts, finished = {"slow": 0, "fast": 0}, threading.Event()
    ready = threading.Barrier(3)

    def worker(name, seconds):
        with broker.connect() as connection:
            channel = connection.channel()
            channel.basic_qos(0, 1, False)

            def on_task(message):
                finished.wait(seconds)
                counts[name] += 1
                channel.basic_ack(message.delivery_tag)

            channel.basic_consume(queue, callback=on_task)
            ready.wait(5)
            while not finished.is_set():
                serve(connection, 0.05)

    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, queue)
        workers = [threading.Thread(target=worker, args=each, daemon=True) for each in (("slow", 0.1), ("fast", 0.01))]
        for each in workers:
            each.start()
        ready.wait(5)
        try:
            for number in range(30):
                channel.basic_publish(text(f"task {number}", **PERSISTENT), routing_key=queue)
            until("all tasks", lambda: sum(counts.values()) == 30)
        finally:
            finished.set()
            for each in workers:
                each.join(5)
        expect("left", depth(channel, queue), 0)
        expect(f"the fast one does more: {counts}", 0 < counts["slow"] < counts["fast"], True)


def publish_subscribe(broker):
    news = broker.exchange("news")
    with broker.connect() as publisher, broker.connect() as first, broker.connect() as second:
        exchange(publisher.channel(), news, "fanout")
        subscribers = []
        for connection in first, second:
            channel = connection.channel()
            subscribers.append((channel, temporary(channel)))
            channel.queue_bind(subscribers[-1][1], news)
        channel = publisher.channel()
        for headline in "one", "two", "end":
            channel.basic_publish(text(headline), news)
        for channel, queue in subscribers:
            expect("headlines", texts_until("end", channel, queue), ["one", "two"])


def routing(broker):
    log = broker.exchange("log")
    with broker.connect() as connection:
        channel = connection.channel()
        exchange(channel, log, "direct")
        queues = []
        for severities in ["critical"], ["notice", "warning", "critical"]:
            queues.append(temporary(channel))
            for severity in [*severities, "end"]:
                channel.queue_bind(queues[-1], log, severity)
        for severity in "notice", "critical", "debug", "warning", "critical.disk", "critical", "end":
            channel.basic_publish(text(severity), log, severity)
        expect("pager", texts_until("end", channel, queues[0]), ["critical", "critical"])
        expect("archive", texts_until("end", channel, queues[1]), ["notice", "critical", "warning", "critical"])


def topics(broker):
    readings = broker.exchange("readings")
    keys = ["home.kitchen.heat", "home", "office.lab.heat", "office.lab.rack.heat", "end"]
    interests = {"home.#": [0, 1], "home.*": [], "*.*.heat": [0, 2], "#.heat": [0, 2, 3], "#": [0, 1, 2, 3]}
    with broker.connect() as connection:
        channel = connection.channel()
        exchange(channel, readings, "topic")
        queues = {}
        for pattern in interests:
            queues[pattern] = temporary(channel)
            for each in pattern, "end":
                channel.queue_bind(queues[pattern], readings, each)
        for key in keys:
            channel.basic_publish(text(key), readings, key)
        for pattern, wanted in interests.items():
            expect(pattern, texts_until("end", channel, queues[pattern]), [keys[index] for index in wanted])


def rpc(broker):
    """Replies by the broker's direct reply-to."""
    queue = broker.queue("squares")
    with broker.connect() as serving, broker.connect() as calling:
        server, client = serving.channel(), calling.channel()
        durable(server, queue)

        def on_request(message):
            reply = text(str(int(body(message)) ** 2), correlation_id=message.correlation_id)
            server.basic_publish(reply, routing_key=message.reply_to)
            server.basic_ack(message.delivery_tag)

        server.basic_consume(queue, callback=on_request)
        answers = {}
        client.basic_consume(
            "amq.rabbitmq.reply-to", no_ack=True, callback=lambda message: answers.update({int(message.correlation_id): int(body(message))}),
        )
        for number in range(12):
            client.basic_publish(text(str(number), reply_to="amq.rabbitmq.reply-to", correlation_id=str(number)), routing_key=queue)
        for _ in range(12):
            serve(serving, 1)
        until("twelve answers", lambda: len(answers) == 12, calling)
        expect("squares", answers, {number: number**2 for number in range(12)})


def confirms_one_by_one(broker):
    queue = broker.queue("one")
    with broker.connect(confirm_publish=True) as connection:
        channel = connection.channel()
        durable(channel, queue)
        for number in range(1, 21):
            channel.basic_publish(text("order", **PERSISTENT), routing_key=queue, mandatory=True)
            expect("depth", depth(channel, queue), number)


class Account:
    """What the broker says to each message of a channel."""

    def __init__(self, channel):
        self.outstanding, self.returned, self.published = set(), [], 0
        channel.confirm_select()
        channel.events["basic_ack"].add(self.on_ack)
        channel.events["basic_return"].add(lambda exc, exchange, key, message: self.returned.append((exc.reply_code, body(message))))

    def count(self):
        self.published += 1
        self.outstanding.add(self.published)

    def on_ack(self, tag, multiple):
        self.outstanding -= {number for number in self.outstanding if number == tag or multiple and number <= tag}


def confirms_in_batches(broker):
    queue = broker.queue("batch")
    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, queue)
        account = Account(channel)
        for batch in range(1, 11):
            for _ in range(50):
                account.count()
                channel.basic_publish(text("order", **PERSISTENT), routing_key=queue)
            until("the batch's confirms", lambda: not account.outstanding, connection)
            expect("depth", depth(channel, queue), batch * 50)


def confirms_asynchronous(broker):
    queue = broker.queue("async")
    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, queue)
        account = Account(channel)
        for number in range(1, 2001):
            account.count()
            key = queue if number % 100 else f"{broker.prefix}.missing"
            channel.basic_publish(text(str(number), **PERSISTENT), routing_key=key, mandatory=True)
        until("all confirms", lambda: not account.outstanding, connection)
        expect("returned", account.returned, [(312, str(number)) for number in range(100, 2001, 100)])
        expect("depth", depth(channel, queue), 1980)


SCENARIOS = {
    "hello-world": hello_world,
    "work-queues": work_queues,
    "publish-subscribe": publish_subscribe,
    "routing": routing,
    "topics": topics,
    "rpc": rpc,
    "confirms-one-by-one": confirms_one_by_one,
    "confirms-in-batches": confirms_in_batches,
    "confirms-asynchronous": confirms_asynchronous,
    "connection-options": failures.connection_options,
    "tls": failures.tls,
    "get": messages.get,
    "acknowledgements": messages.acknowledgements,
    "prefetch": messages.prefetch,
    "returns": messages.returns,
    "transactions": messages.transactions,
    "ttl": messages.ttl,
    "dead-letters": messages.dead_letters,
    "priorities": messages.priorities,
    "delayed": messages.delayed,
    "big-message": messages.big_message,
    "header-types": messages.header_types,
    "alternate-exchange": failures.alternate_exchange,
    "exchange-to-exchange": failures.exchange_to_exchange,
    "headers-exchange": failures.headers_exchange,
    "exclusive-queues": failures.exclusive_queues,
    "auto-delete": failures.auto_delete,
    "consumer-cancelled": messages.cancelled,
    "single-active-consumer": messages.single_active,
    "quorum-queue": messages.quorum_queue,
    "stream": messages.stream,
    "many-channels": failures.many_channels,
    "missing-exchange": failures.missing_exchange,
    "permission-denied": failures.permission_denied,
    "recovery": failures.recovery,
    "blocked": failures.blocked,
}

if __name__ == "__main__":
    harness.main(SCENARIOS, Broker)
