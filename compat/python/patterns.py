"""The six classic patterns."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pika

from broker import PATIENCE, depth, expect, messages, texts_until


def hello_world(broker):
    queue = broker.queue("hello")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        channel.basic_publish(
            exchange="",
            routing_key=queue,
            body="Grüß Gott".encode(),
            properties=pika.BasicProperties(
                content_type="text/plain", headers={"lang": "de", "tries": 1}
            ),
        )

    received = []

    def on_message(channel, method, properties, body):
        received.append((method, properties, body))
        channel.stop_consuming()

    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        channel.basic_consume(queue, on_message, auto_ack=True)
        connection.call_later(PATIENCE, channel.stop_consuming)
        channel.start_consuming()

    expect("number of messages", len(received), 1)
    method, properties, body = received[0]
    expect("body", body.decode(), "Grüß Gott")
    expect("exchange", method.exchange, "")
    expect("routing key", method.routing_key, queue)
    expect("redelivered", method.redelivered, False)
    expect("content type", properties.content_type, "text/plain")
    expect("headers", properties.headers, {"lang": "de", "tries": 1})


def work_queues(broker):
    queue = broker.queue("tasks")
    tasks = [f"task {number}" for number in range(30)]
    done = []
    ready = threading.Barrier(3)
    finished = threading.Event()

    def worker(seconds_per_task):
        """Works off tasks until all are done, and returns how many it got."""
        count = 0
        with broker.connect() as connection:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=1)
            tag = f"worker-{uuid.uuid4().hex}"

            def on_task(channel, method, properties, body):
                nonlocal count
                expect("delivery mode", properties.delivery_mode, 2)
                connection.sleep(seconds_per_task)
                channel.basic_ack(method.delivery_tag)
                count += 1
                done.append(body.decode())
                if len(done) >= len(tasks):
                    finished.set()

            channel.basic_consume(queue, on_task, consumer_tag=tag)
            ready.wait(PATIENCE)
            while not finished.is_set():
                connection.process_data_events(time_limit=0.05)
            channel.basic_cancel(tag)
        return count

    with broker.connect() as connection, ThreadPoolExecutor(2) as pool:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        slow, fast = pool.submit(worker, 0.1), pool.submit(worker, 0.01)
        try:
            ready.wait(PATIENCE)
            for task in tasks:
                channel.basic_publish(
                    exchange="",
                    routing_key=queue,
                    body=task.encode(),
                    properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
                )
            finished.wait(PATIENCE)
        finally:
            finished.set()  # also what ends the workers when something went wrong
            by_slow, by_fast = slow.result(), fast.result()
        left = depth(channel, queue)

    expect("tasks done", sorted(done), sorted(tasks))
    expect("tasks left", left, 0)
    if not 0 < by_slow < by_fast:
        raise AssertionError(f"the slow worker got {by_slow} tasks, the fast one {by_fast}")


def publish_subscribe(broker):
    exchange = broker.exchange("news")
    news = [f"headline {number}" for number in range(5)]
    with broker.connect() as publisher, broker.connect() as first, broker.connect() as second:
        subscribers = []
        for connection in first, second:
            channel = connection.channel()
            channel.exchange_declare(exchange, "fanout")
            queue = channel.queue_declare("", exclusive=True).method.queue
            channel.queue_bind(queue, exchange)
            subscribers.append((channel, queue))
        if not subscribers[0][1] or subscribers[0][1] == subscribers[1][1]:
            raise AssertionError(f"queue names from the server: {subscribers}")

        channel = publisher.channel()
        channel.exchange_declare(exchange, "fanout")
        for headline in news + ["end"]:
            channel.basic_publish(exchange, routing_key="", body=headline.encode())
        for number, (channel, queue) in enumerate(subscribers, 1):
            expect(f"subscriber {number}", texts_until("end", channel, queue), news)


def routing(broker):
    exchange = broker.exchange("log")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(exchange, "direct")
        pager = channel.queue_declare("", exclusive=True).method.queue
        archive = channel.queue_declare("", exclusive=True).method.queue
        for severity in "critical", "end":
            channel.queue_bind(pager, exchange, severity)
        for severity in "notice", "warning", "critical", "end":
            channel.queue_bind(archive, exchange, severity)

        for severity in "notice", "critical", "debug", "warning", "critical.disk", "critical", "end":
            channel.basic_publish(exchange, severity, severity.encode())
        expect("pager", texts_until("end", channel, pager), ["critical", "critical"])
        expect(
            "archive",
            texts_until("end", channel, archive),
            ["notice", "critical", "warning", "critical"],
        )


def topics(broker):
    exchange = broker.exchange("readings")
    readings = [
        "home.kitchen.temperature",
        "home.kitchen.humidity",
        "home",
        "office.lab.temperature",
        "office.lab.rack.temperature",
    ]
    # The patterns that a queue is bound with, and which readings it gets: each of them once.
    interests = [
        (["home.#"], [0, 1, 2]),
        (["home.*"], []),
        (["*.*.temperature"], [0, 3]),
        (["#.temperature"], [0, 3, 4]),
        (["home.#", "#.temperature"], [0, 1, 2, 3, 4]),
        (["office.lab.temperature"], [3]),
        (["#"], [0, 1, 2, 3, 4]),
    ]
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(exchange, "topic")
        queues = []
        for patterns, _ in interests:
            queue = channel.queue_declare("", exclusive=True).method.queue
            for pattern in patterns + ["end"]:
                channel.queue_bind(queue, exchange, pattern)
            queues.append(queue)

        for key in readings + ["end"]:
            channel.basic_publish(exchange, key, key.encode())
        for queue, (patterns, wanted) in zip(queues, interests):
            expect(
                " and ".join(patterns),
                texts_until("end", channel, queue),
                [readings[index] for index in wanted],
            )


def rpc(broker):
    queue = broker.queue("squares")
    ready = threading.Event()
    server = {}

    def serve():
        with broker.connect() as connection:
            channel = connection.channel()
            channel.queue_declare(queue, durable=True)
            channel.basic_qos(prefetch_count=1)

            def on_request(channel, method, properties, body):
                channel.basic_publish(
                    exchange="",
                    routing_key=properties.reply_to,
                    body=str(int(body) ** 2).encode(),
                    properties=pika.BasicProperties(correlation_id=properties.correlation_id),
                )
                channel.basic_ack(method.delivery_tag)

            channel.basic_consume(queue, on_request)
            server.update(connection=connection, channel=channel)
            ready.set()
            channel.start_consuming()

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        try:
            if not ready.wait(PATIENCE):
                raise TimeoutError("the server is not ready")
            expect("squares", call_squares(broker, queue, range(12)), [n * n for n in range(12)])
        finally:
            if ready.is_set():
                connection, channel = server["connection"], server["channel"]
                connection.add_callback_threadsafe(channel.stop_consuming)
            serving.result(PATIENCE)


def call_squares(broker, queue, numbers):
    """Asks for all the squares at once and puts the answers in order by their correlation ids."""
    with broker.connect() as connection:
        channel = connection.channel()
        replies = channel.queue_declare("", exclusive=True).method.queue
        calls = {str(uuid.uuid4()): number for number in numbers}
        for correlation_id, number in calls.items():
            channel.basic_publish(
                exchange="",
                routing_key=queue,
                body=str(number).encode(),
                properties=pika.BasicProperties(reply_to=replies, correlation_id=correlation_id),
            )
        answers = {}
        for _, properties, body in messages(channel, replies, auto_ack=True):
            if properties.correlation_id not in calls:
                raise AssertionError(f"unknown correlation id {properties.correlation_id}")
            answers[calls.pop(properties.correlation_id)] = int(body)
            if not calls:
                break
        channel.cancel()
    return [answers[number] for number in numbers]
