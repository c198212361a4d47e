"""What may happen to a message."""

import datetime
import decimal
import hashlib
import time

import pika
from pika.exceptions import ChannelClosedByBroker

from broker import depth, expect, take, until
from harness import Skipped

LIMIT = 16 * 1024 * 1024  # the largest message that a broker takes, unless told otherwise


def with_headers(**headers):
    return pika.BasicProperties(headers=headers)


def get(broker):
    queue = broker.queue("get")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        expect("from an empty queue", channel.basic_get(queue)[0], None)
        for text in b"one", b"two":
            channel.basic_publish("", queue, text)
        until("both messages", lambda: depth(channel, queue) == 2)
        method, _, body = channel.basic_get(queue)
        expect("first", (body, method.message_count, method.redelivered), (b"one", 1, False))
        channel.basic_nack(method.delivery_tag, requeue=True)
        method, _, body = channel.basic_get(queue)
        expect("again", (body, method.message_count, method.redelivered), (b"one", 1, True))
        channel.basic_ack(method.delivery_tag)
        expect("left", depth(channel, queue), 1)


def acknowledgements(broker):
    queue = broker.queue("acks")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        for number in range(6):
            channel.basic_publish("", queue, str(number).encode())
        seen = []

        def on_message(channel, method, _, body):
            seen.append((body.decode(), method.redelivered, method.delivery_tag))

        channel.basic_consume(queue, on_message)
        until("six messages", lambda: len(seen) == 6, channel)
        tags = {body: tag for body, _, tag in seen}
        channel.basic_ack(tags["1"], multiple=True)
        channel.basic_reject(tags["2"], requeue=False)
        channel.basic_reject(tags["3"], requeue=True)
        until("3 again", lambda: len(seen) == 7, channel)
        expect("3 again", seen[6][:2], ("3", True))
        channel.basic_nack(tags["5"], multiple=True, requeue=True)
        until("4 and 5 again", lambda: len(seen) == 9, channel)
        expect("4 and 5 again", sorted(each[:2] for each in seen[7:]), [("4", True), ("5", True)])
        channel.basic_recover(requeue=True)
        until("what is left again", lambda: len(seen) == 12, channel)
        expect("what is left", sorted(each[0] for each in seen[9:]), ["3", "4", "5"])
        channel.basic_ack(0, multiple=True)
        channel.close()
        expect("left", depth(connection.channel(), queue), 0)


def returns(broker):
    with broker.connect() as connection:
        channel = connection.channel()
        came = []
        channel.add_on_return_callback(lambda _, *message: came.append(message))
        channel.basic_publish("", broker.queue("missing"), b"lost", with_headers(order=7), mandatory=True)
        until("the return", lambda: came, channel)
        method, properties, body = came[0]
        expect("reply", (method.reply_code, method.reply_text), (312, "NO_ROUTE"))
        expect("message", (properties.headers, body), ({"order": 7}, b"lost"))


def transactions(broker):
    queue = broker.queue("tx")
    with broker.connect() as connection, broker.connect() as other:
        channel, observer = connection.channel(), other.channel()
        channel.queue_declare(queue, durable=True)
        channel.tx_select()
        channel.basic_publish("", queue, b"rolled back")
        channel.tx_rollback()
        channel.basic_publish("", queue, b"committed")
        expect("before the commit", depth(observer, queue), 0)
        channel.tx_commit()
        expect("after the commit", depth(observer, queue), 1)
        expect("message", take(observer, queue)[2], "committed")


def ttl(broker):
    short, long, gone = broker.queue("short"), broker.queue("long"), broker.queue("gone")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(short, durable=True, arguments={"x-message-ttl": 100})
        channel.queue_declare(long, durable=True)
        channel.queue_declare(gone, durable=True, arguments={"x-expires": 200})
        channel.basic_publish("", short, b"by the queue")
        channel.basic_publish("", long, b"by itself", pika.BasicProperties(expiration="100"))
        channel.basic_publish("", long, b"stays")
        until("the short queue is empty", lambda: depth(channel, short) == 0)
        until("one message is left", lambda: depth(channel, long) == 1)
        expect("left", take(channel, long)[2], "stays")
        time.sleep(0.5)
        try:
            depth(channel, gone)
            raise AssertionError("the unused queue is still there")
        except ChannelClosedByBroker as error:
            expect("reply code", error.reply_code, 404)


def dead_letters(broker):
    """Rejected work waits in a queue and comes back; the third time it is given up."""
    work, waiting = broker.queue("work"), broker.queue("waiting")
    retry = broker.exchange("retry")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(retry, "direct", durable=True)
        channel.queue_declare(
            work, durable=True, arguments={"x-dead-letter-exchange": retry, "x-dead-letter-routing-key": "later"}
        )
        channel.queue_declare(
            waiting,
            durable=True,
            arguments={"x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": work},
        )
        channel.queue_bind(waiting, retry, "later")
        channel.basic_publish("", work, b"job", with_headers(id=1))
        tries = []

        def on_job(channel, method, properties, body):
            deaths = properties.headers.get("x-death", [])
            tries.append({(death["queue"], death["reason"]): death["count"] for death in deaths})
            if len(tries) == 3:
                expect("body", body, b"job")
                expect("first death", properties.headers["x-first-death-queue"], work)
                expect("why", properties.headers["x-first-death-reason"], "rejected")
                channel.basic_ack(method.delivery_tag)
            else:
                channel.basic_reject(method.delivery_tag, requeue=False)

        channel.basic_consume(work, on_job)
        until("three tries", lambda: len(tries) == 3, channel)
        wanted = [{}] + [{(work, "rejected"): n, (waiting, "expired"): n} for n in (1, 2)]
        expect("deaths", tries, wanted)


def priorities(broker):
    queue = broker.queue("priorities")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-max-priority": 5})
        for number, priority in enumerate([0, 5, 1, 9, 1]):
            channel.basic_publish("", queue, str(number).encode(), pika.BasicProperties(priority=priority))
        until("five messages", lambda: depth(channel, queue) == 5)
        expect("order", [take(channel, queue)[2] for _ in range(5)], ["1", "3", "2", "4", "0"])


def delayed(broker):
    exchange, queue = broker.exchange("delayed"), broker.queue("delayed")
    with broker.connect() as connection:
        channel = connection.channel()
        try:
            channel.exchange_declare(exchange, "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
        except ChannelClosedByBroker as error:
            broker.exchanges.clear()
            raise Skipped(f"the broker has no such exchange: {error.reply_text}") from None
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, exchange, "k")
        begin = time.monotonic()
        channel.basic_publish(exchange, "k", b"later", with_headers(**{"x-delay": 400}))
        channel.basic_publish(exchange, "k", b"at once")
        expect("first", take(channel, queue)[2], "at once")
        expect("second", take(channel, queue)[2], "later")
        if time.monotonic() - begin < 0.4:
            raise AssertionError("it came before its time")


def big_message(broker):
    queue = broker.queue("big")
    body = bytes(range(256)) * (LIMIT // 256)
    with broker.connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True)
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
        got = channel.basic_get(queue, auto_ack=True)[2]
        expect("digest", hashlib.sha256(got).hexdigest(), hashlib.sha256(body).hexdigest())
        try:
            channel.basic_publish("", queue, body + b"!")
            raise AssertionError("a larger message was accepted")
        except ChannelClosedByBroker as error:
            expect("reply code", error.reply_code, 406)


def header_types(broker):
    queue = broker.queue("headers")
    moment = datetime.datetime(2026, 2, 28, 23, 59, 59, tzinfo=datetime.timezone.utc)
    headers = {
        "bool": True, "no": False, "int": 7, "negative": -(2**31), "long": 2**40, "text": "ä€𝄞",
        "empty": "", "bytes": b"\x00\xff", "none": None, "decimal": decimal.Decimal("1.5"), "time": moment,
        "list": [1, "two", [3, None], {"four": 4}], "table": {"deep": {"deeper": [True, {}]}}, "k" * 128: "long name",
    }
    properties = pika.BasicProperties(
        content_type="a/b", content_encoding="gzip", headers=headers, delivery_mode=2, priority=3, correlation_id="c",
        reply_to="r", expiration="60000", message_id="m", timestamp=1, type="t", user_id="guest", app_id="a",
    )
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        channel.basic_publish("", queue, b"", properties)
        _, got, body = take(channel, queue)
        expect("body", body, "")
        for name, wanted in headers.items():
            expect(name, got.headers.get(name), wanted)
        for name, wanted in vars(properties).items():
            expect(name, getattr(got, name), wanted)


