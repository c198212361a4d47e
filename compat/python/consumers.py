"""Consumers, and queues that treat them in a way of their own."""

import pika

from broker import depth, expect, take, until


def prefetch(broker):
    queue = broker.queue("prefetch")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        for number in range(10):
            channel.basic_publish("", queue, str(number).encode())
        until("ten messages", lambda: depth(channel, queue) == 10)
        tags = []
        channel.basic_qos(prefetch_count=3)
        channel.basic_consume(queue, lambda channel, method, *_: tags.append(method.delivery_tag))
        until("three messages", lambda: len(tags) == 3, channel)
        connection.process_data_events(time_limit=0.2)
        expect("at once", len(tags), 3)
        channel.basic_ack(tags[1], multiple=True)
        until("two more", lambda: len(tags) == 5, channel)
        expect("ready", depth(channel, queue), 5)


def cancelled(broker):
    queue = broker.queue("cancelled")
    with broker.connect() as connection, broker.connect() as other:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        told = []
        channel.add_on_cancel_callback(lambda frame: told.append(frame.method.consumer_tag))
        tag = channel.basic_consume(queue, lambda *_: None)
        other.channel().queue_delete(queue)
        until("the cancellation", lambda: told, channel)
        expect("consumer", told, [tag])
        channel.queue_declare(queue, durable=True)  # the channel lives on


def single_active(broker):
    queue = broker.queue("single")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-single-active-consumer": True})
        got = {"first": [], "second": []}

        def consumer(name):
            def on_message(channel, method, _, body):
                got[name].append(body.decode())
                channel.basic_ack(method.delivery_tag)

            return channel.basic_consume(queue, on_message)

        first = consumer("first")
        consumer("second")
        for text in "1", "2":
            channel.basic_publish("", queue, text.encode())
        until("both", lambda: len(got["first"]) == 2, channel)
        channel.basic_cancel(first)
        channel.basic_publish("", queue, b"3")
        until("the other's turn", lambda: got["second"], channel)
        expect("got", got, {"first": ["1", "2"], "second": ["3"]})


def quorum_queue(broker):
    queue, dead = broker.queue("quorum"), broker.queue("dead")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(dead, durable=True)
        channel.queue_declare(
            queue,
            durable=True,
            arguments={
                "x-queue-type": "quorum", "x-delivery-limit": 2, "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": dead,
            },
        )
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"poison", pika.BasicProperties(delivery_mode=2))
        counts = []

        def on_message(channel, method, properties, _):
            counts.append((properties.headers or {}).get("x-delivery-count"))
            channel.basic_reject(method.delivery_tag, requeue=True)

        channel.basic_consume(queue, on_message)
        until("three deliveries", lambda: len(counts) == 3, channel)
        expect("delivery counts", counts, [None, 1, 2])
        _, properties, body = take(connection.channel(), dead)
        expect("given up", (body, properties.headers["x-death"][0]["reason"]), ("poison", "delivery_limit"))


def stream(broker):
    queue = broker.queue("stream")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "stream"})
        channel.confirm_delivery()
        for number in range(20):
            channel.basic_publish("", queue, str(number).encode())

        def read(offset, count):
            reader = connection.channel()
            reader.basic_qos(prefetch_count=5)
            got = []

            def on_message(channel, method, properties, body):
                got.append((properties.headers["x-stream-offset"], body.decode()))
                channel.basic_ack(method.delivery_tag)

            reader.basic_consume(queue, on_message, arguments={"x-stream-offset": offset})
            if offset == "next":
                channel.basic_publish("", queue, b"20")
            until(f"messages from {offset}", lambda: len(got) >= count, reader)
            reader.close()
            return got

        everything = [(number, str(number)) for number in range(20)]
        expect("from the first", read("first", 20), everything)
        expect("again, from 15", read(15, 5), everything[15:])
        expect("only what comes", read("next", 1), [(20, "20")])


def many_channels(broker):
    queue = broker.queue("many")
    with broker.connect() as connection:
        channels = [connection.channel() for _ in range(200)]
        channels[0].queue_declare(queue, durable=True)
        got = []

        def on_message(channel, method, *_):
            got.append(channel.channel_number)
            channel.basic_ack(method.delivery_tag)

        for channel in channels:
            channel.basic_consume(queue, on_message)
        for channel in channels:
            channel.basic_publish("", queue, b"x")
        until("a message for each", lambda: len(got) == 200, channels[0])
        expect("channels", len(set(got)), 200)
