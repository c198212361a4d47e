"""What may happen to a message, and queues and consumers of all kinds, with py-amqp."""

import datetime
import decimal
import hashlib
import time

import amqp
from harness import Skipped, expect
from pyamqp_broker import body, depth, durable, exchange, serve, take, text, until

LIMIT = 16 * 1024 * 1024  # the largest message that a broker takes, unless told otherwise


def get(broker):
    queue = broker.queue("get")
    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, queue)
        expect("from an empty queue", channel.basic_get(queue), None)
        for each in "one", "two":
            channel.basic_publish(text(each), routing_key=queue)
        until("both messages", lambda: depth(channel, queue) == 2)
        for redelivered in False, True:
            message = channel.basic_get(queue)
            delivery = message.delivery_info
            seen = body(message), delivery["message_count"], bool(delivery["redelivered"])
            expect("first" if not redelivered else "again", seen, ("one", 1, redelivered))
            if redelivered:
                channel.basic_ack(message.delivery_tag)
            else:
                channel.basic_reject(message.delivery_tag, requeue=True)
        expect("left", depth(channel, queue), 1)


def acknowledgements(broker):
    """Without basic.nack, which py-amqp has not."""
    queue = broker.queue("acks")
    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, queue)
        for number in range(5):
            channel.basic_publish(text(str(number)), routing_key=queue)
        seen = []
        channel.basic_consume(queue, callback=seen.append)
        until("five messages", lambda: len(seen) == 5, connection)
        channel.basic_ack(seen[1].delivery_tag, multiple=True)
        channel.basic_reject(seen[2].delivery_tag, requeue=False)
        channel.basic_reject(seen[3].delivery_tag, requeue=True)
        until("3 again", lambda: len(seen) == 6, connection)
        expect("3 again", (body(seen[5]), bool(seen[5].delivery_info["redelivered"])), ("3", True))
        channel.basic_recover(requeue=True)
        until("what is left again", lambda: len(seen) == 8, connection)
        expect("what is left", sorted(map(body, seen[6:])), ["3", "4"])
        channel.basic_ack(seen[7].delivery_tag, multiple=True)
        channel.close()
        expect("left", depth(connection.channel(), queue), 0)


def prefetch(broker):
    queue = broker.queue("prefetch")
    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, queue)
        for number in range(10):
            channel.basic_publish(text(str(number)), routing_key=queue)
        until("ten messages", lambda: depth(channel, queue) == 10)
        channel.basic_qos(0, 3, False)
        seen = []
        channel.basic_consume(queue, callback=seen.append)
        until("three messages", lambda: len(seen) == 3, connection)
        serve(connection, 0.2)
        expect("at once", len(seen), 3)
        channel.basic_ack(seen[1].delivery_tag, multiple=True)
        until("two more", lambda: len(seen) == 5, connection)
        expect("ready", depth(channel, queue), 5)


def returns(broker):
    with broker.connect() as connection:
        channel = connection.channel()
        came = []
        channel.events["basic_return"].add(lambda exc, *rest: came.append((exc.reply_code, exc.reply_text, *rest)))
        channel.basic_publish(text("lost", application_headers={"order": 7}), routing_key=f"{broker.prefix}.missing", mandatory=True)
        until("the return", lambda: came, connection)
        code, reason, _, key, message = came[0]
        expect("reply", (code, reason, key), (312, "NO_ROUTE", f"{broker.prefix}.missing"))
        expect("message", (message.headers, body(message)), ({"order": 7}, "lost"))


def transactions(broker):
    queue = broker.queue("tx")
    with broker.connect() as connection:
        channel, observer = connection.channel(), connection.channel()
        durable(channel, queue)
        channel.tx_select()
        channel.basic_publish(text("rolled back"), routing_key=queue)
        channel.tx_rollback()
        channel.basic_publish(text("committed"), routing_key=queue)
        expect("before the commit", depth(observer, queue), 0)
        channel.tx_commit()
        expect("after the commit", depth(observer, queue), 1)
        expect("message", body(take(observer, queue)), "committed")


def ttl(broker):
    short, long, gone = broker.queue("short"), broker.queue("long"), broker.queue("gone")
    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, short, x_message_ttl=100)
        durable(channel, long)
        durable(channel, gone, x_expires=200)
        channel.basic_publish(text("by the queue"), routing_key=short)
        channel.basic_publish(text("by itself", expiration="100"), routing_key=long)
        channel.basic_publish(text("stays"), routing_key=long)
        until("the short queue is empty", lambda: depth(channel, short) == 0)
        until("one message is left", lambda: depth(channel, long) == 1)
        expect("left", body(take(channel, long)), "stays")
        time.sleep(0.5)
        try:
            depth(channel, gone)
            raise AssertionError("the unused queue is still there")
        except amqp.NotFound as error:
            expect("reply code", error.reply_code, 404)


def dead_letters(broker):
    """Rejected work waits in a queue and comes back; the third time it is given up."""
    work, waiting, retry = broker.queue("work"), broker.queue("waiting"), broker.exchange("retry")
    with broker.connect() as connection:
        channel = connection.channel()
        exchange(channel, retry, "direct")
        durable(channel, work, x_dead_letter_exchange=retry, x_dead_letter_routing_key="later")
        durable(channel, waiting, x_message_ttl=50, x_dead_letter_exchange="", x_dead_letter_routing_key=work)
        channel.queue_bind(waiting, retry, "later")
        channel.basic_publish(text("job", application_headers={"id": 1}), routing_key=work)
        tries = []

        def on_job(message):
            deaths = message.headers.get("x-death", [])
            tries.append({(death["queue"], death["reason"]): death["count"] for death in deaths})
            if len(tries) < 3:
                return channel.basic_reject(message.delivery_tag, requeue=False)
            first = message.headers["x-first-death-queue"], message.headers["x-first-death-reason"]
            expect("first death", first, (work, "rejected"))
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume(work, callback=on_job)
        until("three tries", lambda: len(tries) == 3, connection)
        expect("deaths", tries, [{}] + [{(work, "rejected"): n, (waiting, "expired"): n} for n in (1, 2)])


def priorities(broker):
    queue = broker.queue("priorities")
    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, queue, x_max_priority=5)
        for number, priority in enumerate([0, 5, 1, 9, 1]):
            channel.basic_publish(text(str(number), priority=priority), routing_key=queue)
        until("five messages", lambda: depth(channel, queue) == 5)
        expect("order", [body(take(channel, queue)) for _ in range(5)], ["1", "3", "2", "4", "0"])


def delayed(broker):
    name, queue = f"{broker.prefix}.delayed", broker.queue("delayed")
    with broker.connect() as connection:
        try:
            exchange(connection.channel(), name, "x-delayed-message", x_delayed_type="direct")
        except amqp.AMQPError as error:
            raise Skipped(f"the broker has no such exchange: {error}") from None
        broker.exchanges.append(name)
        channel = connection.channel()
        durable(channel, queue)
        channel.queue_bind(queue, name, "k")
        begin = time.monotonic()
        channel.basic_publish(text("later", application_headers={"x-delay": 400}), name, "k")
        channel.basic_publish(text("at once"), name, "k")
        expect("order", [body(take(channel, queue)) for _ in range(2)], ["at once", "later"])
        expect("not before its time", time.monotonic() - begin >= 0.4, True)


def big_message(broker):
    queue = broker.queue("big")
    large = bytes(range(256)) * (LIMIT // 256)
    with broker.connect(confirm_publish=True) as connection:
        channel = connection.channel()
        durable(channel, queue)
        channel.basic_publish(text(large, delivery_mode=2), routing_key=queue)
        got = take(channel, queue).body
        expect("digest", hashlib.sha256(got).hexdigest(), hashlib.sha256(large).hexdigest())
        try:
            channel.basic_publish(text(large + b"!"), routing_key=queue)
            raise AssertionError("a larger message was accepted")
        except amqp.PreconditionFailed as error:
            expect("reply code", error.reply_code, 406)


def header_types(broker):
    queue = broker.queue("headers")
    headers = {
        "bool": True, "no": False, "int": 7, "negative": -(2**31), "long": 2**40, "text": "ä€𝄞", "empty": "", "none": None,
        "float": 0.25, "decimal": decimal.Decimal("1.5"), "time": datetime.datetime(2026, 2, 28, 23, 59, 59),
        "list": [1, "two", [3, None], {"four": 4}], "table": {"deep": {"deeper": [True, {}]}}, "k" * 128: "long name",
    }
    properties = dict(
        content_type="a/b", content_encoding="utf-8", delivery_mode=2, priority=3, correlation_id="c", reply_to="r",
        expiration="60000", message_id="m", timestamp=1, type="t", user_id="guest", app_id="a",
    )
    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, queue)
        channel.basic_publish(text("", application_headers=headers, **properties), routing_key=queue)
        got = take(channel, queue)
        expect("headers", got.headers, headers)
        expect("properties", {name: got.properties.get(name) for name in properties}, properties)


def cancelled(broker):
    queue = broker.queue("cancelled")
    with broker.connect() as connection, broker.connect() as other:
        channel = connection.channel()
        durable(channel, queue)
        told = []
        tag = channel.basic_consume(queue, on_cancel=told.append)
        other.channel().queue_delete(queue)
        until("the cancellation", lambda: told, connection)
        expect("consumer", told, [tag])
        durable(channel, queue)  # the channel lives on


def single_active(broker):
    queue = broker.queue("single")
    with broker.connect() as connection:
        channel = connection.channel()
        durable(channel, queue, x_single_active_consumer=True)
        got = {"first": [], "second": []}

        def consumer(name):
            def on_message(message):
                got[name].append(body(message))
                channel.basic_ack(message.delivery_tag)

            return channel.basic_consume(queue, callback=on_message)

        first = consumer("first")
        consumer("second")
        for each in "1", "2":
            channel.basic_publish(text(each), routing_key=queue)
        until("both", lambda: len(got["first"]) == 2, connection)
        channel.basic_cancel(first)
        channel.basic_publish(text("3"), routing_key=queue)
        until("the other's turn", lambda: got["second"], connection)
        expect("got", got, {"first": ["1", "2"], "second": ["3"]})


def quorum_queue(broker):
    queue, dead = broker.queue("quorum"), broker.queue("dead")
    with broker.connect(confirm_publish=True) as connection:
        channel = connection.channel()
        durable(channel, dead)
        durable(channel, queue, x_queue_type="quorum", x_delivery_limit=2, x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
        channel.basic_publish(text("poison"), routing_key=queue)
        counts = []

        def on_message(message):
            counts.append((message.headers or {}).get("x-delivery-count"))
            channel.basic_reject(message.delivery_tag, requeue=True)

        channel.basic_consume(queue, callback=on_message)
        until("three deliveries", lambda: len(counts) == 3, connection)
        expect("delivery counts", counts, [None, 1, 2])
        given_up = take(connection.channel(), dead)
        expect("given up", (body(given_up), given_up.headers["x-death"][0]["reason"]), ("poison", "delivery_limit"))


def stream(broker):
    queue = broker.queue("stream")
    with broker.connect(confirm_publish=True) as connection:
        channel = connection.channel()
        durable(channel, queue, x_queue_type="stream")
        for number in range(20):
            channel.basic_publish(text(str(number)), routing_key=queue)

        def read(offset, count):
            reader, got = connection.channel(), []
            reader.basic_qos(0, 5, False)

            def on_message(message):
                got.append((message.headers["x-stream-offset"], body(message)))
                reader.basic_ack(message.delivery_tag)

            reader.basic_consume(queue, callback=on_message, arguments={"x-stream-offset": offset})
            if offset == "next":
                channel.basic_publish(text("20"), routing_key=queue)
            until(f"messages from {offset}", lambda: len(got) >= count, connection)
            reader.close()
            return got

        everything = [(number, str(number)) for number in range(20)]
        expect("from the first", read("first", 20), everything)
        expect("again, from 15", read(15, 5), everything[15:])
        expect("only what comes", read("next", 1), [(20, "20")])
