"""Publisher confirms, with pika's blocking connection and with its asynchronous one."""

import pika
from pika.exceptions import UnroutableError

from broker import depth, expect

SECONDS = 8
PERSISTENT = pika.DeliveryMode.Persistent


def one_by_one(broker):
    queue = broker.queue("one")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        channel.confirm_delivery()
        for number in range(20):
            channel.basic_publish(
                exchange="",
                routing_key=queue,
                body=f"order {number}".encode(),
                properties=pika.BasicProperties(delivery_mode=PERSISTENT),
                mandatory=True,
            )
            expect("queue depth", depth(channel, queue), number + 1)

        try:
            channel.basic_publish("", broker.queue("missing"), b"lost", mandatory=True)
            raise AssertionError("a mandatory message without a queue was accepted")
        except UnroutableError as error:
            expect("returned", [message.body for message in error.messages], [b"lost"])
            expect("reply code", error.messages[0].method.reply_code, 312)


class Publisher:
    """Publishes to one durable queue and keeps account of what the broker says to each message.

    A subclass says in publish_more what to publish, first when the channel is ready and again
    after every confirm, and sets self.finished when nothing more will come.
    """

    def __init__(self, broker, queue):
        self.queue = queue
        self.problem = None
        self.finished = False
        self.published = 0  # also the delivery tag of the last message
        self.outstanding = set()
        self.returned = set()
        self.connection = pika.SelectConnection(
            broker.parameters(),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_channel),
            on_open_error_callback=lambda _, error: self.fail(error),
            on_close_callback=self.on_closed,
        )

    def run(self):
        self.connection.ioloop.call_later(SECONDS, lambda: self.fail("not finished in time"))
        self.connection.ioloop.start()
        if self.problem:
            raise RuntimeError(str(self.problem) or repr(self.problem))

    def on_channel(self, channel):
        self.channel = channel
        channel.add_on_close_callback(lambda _, reason: self.finished or self.fail(reason))
        channel.add_on_return_callback(self.on_returned)
        channel.queue_declare(self.queue, durable=True, callback=self.on_declared)

    def on_declared(self, _):
        self.channel.confirm_delivery(self.on_confirmed, callback=lambda _: self.publish_more())

    def publish(self, key, mandatory=False):
        self.published += 1
        self.outstanding.add(self.published)
        self.channel.basic_publish(
            exchange="",
            routing_key=key,
            body=f"order {self.published}".encode(),
            properties=pika.BasicProperties(
                delivery_mode=PERSISTENT, message_id=str(self.published)
            ),
            mandatory=mandatory,
        )

    def on_confirmed(self, frame):
        tag = frame.method.delivery_tag
        if isinstance(frame.method, pika.spec.Basic.Nack):
            return self.fail(f"message {tag} was refused")
        confirmed = {tag}
        if frame.method.multiple:
            confirmed = {number for number in self.outstanding if number <= tag}
        if not confirmed or not confirmed <= self.outstanding:
            return self.fail(f"{frame.method} confirms nothing that is outstanding")
        self.outstanding -= confirmed
        self.check(confirmed)
        if self.problem:
            return
        self.publish_more()
        if self.finished and self.connection.is_open:
            self.connection.close()

    def on_returned(self, _channel, method, properties, _body):
        if method.reply_code != 312:
            self.fail(f"returned with {method.reply_code} {method.reply_text}")
        self.returned.add(int(properties.message_id))

    def on_closed(self, connection, reason):
        if not self.finished:
            self.problem = self.problem or reason
        connection.ioloop.stop()

    def fail(self, problem):
        self.problem = self.problem or problem
        if self.connection.is_open:
            self.connection.close()
        else:
            self.connection.ioloop.stop()

    def publish_more(self):
        raise NotImplementedError

    def check(self, confirmed):
        """For a subclass that knows more about the messages just confirmed."""


class BatchPublisher(Publisher):
    BATCHES, SIZE = 10, 50

    def publish_more(self):
        if self.outstanding:
            return
        self.finished = self.published == self.BATCHES * self.SIZE
        if not self.finished:
            for _ in range(self.SIZE):
                self.publish(self.queue)


def in_batches(broker):
    queue = broker.queue("batch")
    BatchPublisher(broker, queue).run()
    with broker.connect() as connection:
        wanted = BatchPublisher.BATCHES * BatchPublisher.SIZE
        expect("queue depth", depth(connection.channel(), queue), wanted)


class WindowPublisher(Publisher):
    """Never waits: up to WINDOW messages are outstanding, every 100th cannot be routed."""

    TOTAL, WINDOW, LOST = 2000, 1000, 100

    def __init__(self, broker, queue):
        super().__init__(broker, queue)
        self.missing = broker.queue("missing")

    def publish_more(self):
        while self.published < self.TOTAL and len(self.outstanding) < self.WINDOW:
            if (self.published + 1) % self.LOST == 0:
                self.publish(self.missing, mandatory=True)
            else:
                self.publish(self.queue, mandatory=True)
        self.finished = not self.outstanding

    def check(self, confirmed):
        for number in confirmed:
            if number % self.LOST == 0 and number not in self.returned:
                self.fail(f"message {number} was confirmed before it was returned")


def asynchronous(broker):
    queue = broker.queue("async")
    publisher = WindowPublisher(broker, queue)
    publisher.run()
    lost = set(range(publisher.LOST, publisher.TOTAL + 1, publisher.LOST))
    expect("returned", publisher.returned, lost)
    with broker.connect() as connection:
        wanted = publisher.TOTAL - len(lost)
        expect("queue depth", depth(connection.channel(), queue), wanted)
