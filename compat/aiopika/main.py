"""Runs scenarios with aio-pika and prints one line for each: python main.py URI [SCENARIO ...]"""

import asyncio
import ssl
import sys
import uuid
from pathlib import Path

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.patterns import RPC, Master

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

import harness  # noqa: E402
from harness import control, expect, given  # noqa: E402

PATIENCE = 5  # seconds for one expected event


class Broker:
    def __init__(self, uri):
        self.uri = uri
        self.prefix = f"compat.aiopika.{uuid.uuid4().hex[:12]}"
        self.queues = []
        self.exchanges = []

    def queue(self, label):
        self.queues.append(f"{self.prefix}.{label}")
        return self.queues[-1]

    def exchange(self, label):
        self.exchanges.append(f"{self.prefix}.{label}")
        return self.exchanges[-1]

    def clean_up(self):
        async def delete():
            async with await aio_pika.connect(self.uri) as connection:
                channel = await connection.channel()
                for queue in self.queues:
                    await channel.queue_delete(queue)
                for exchange in self.exchanges:
                    await channel.exchange_delete(exchange)

        asyncio.run(delete())


async def until(what, condition, seconds=PATIENCE):
    for _ in range(seconds * 50):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"{what}: not within {seconds} s")


def texts(messages):
    return [message.body.decode() for message in messages]


async def hello_world(broker):
    async with await aio_pika.connect_robust(broker.uri) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(broker.queue("hello"), durable=True)
        headers = {"lang": "de", "tries": 1, "deep": {"list": [1, "two", None, True]}, "float": 0.25}
        message = Message("Grüß Gott".encode(), headers=headers, content_type="text/plain", delivery_mode=DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue.name)
        got = await queue.get(timeout=PATIENCE)
        expect("message", (got.body.decode(), got.content_type, dict(got.headers)), ("Grüß Gott", "text/plain", headers))
        await got.ack()


async def publish_subscribe(broker):
    async with await aio_pika.connect_robust(broker.uri) as connection:
        channel = await connection.channel()
        news = await channel.declare_exchange(broker.exchange("news"), ExchangeType.FANOUT)
        queues = [await channel.declare_queue(exclusive=True) for _ in range(2)]
        for queue in queues:
            await queue.bind(news)
        for text in "one", "two":
            await news.publish(Message(text.encode()), "")
        for queue in queues:
            seen = []
            async with queue.iterator(timeout=PATIENCE) as messages:
                async for message in messages:
                    async with message.process():
                        seen.append(message.body.decode())
                    if len(seen) == 2:
                        break
            expect("headlines", seen, ["one", "two"])


async def work_queues(broker):
    """aio-pika's own pattern of a master and its workers."""
    done = []

    async def work(*, number):
        await asyncio.sleep(0.01)
        done.append(number)

    async with await aio_pika.connect_robust(broker.uri) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=4)
        master = Master(channel)
        workers = [await master.create_worker(broker.queue("work"), work, durable=True) for _ in range(2)]
        for number in range(30):
            await master.create_task(broker.queues[0], dict(number=number))
        await until("all tasks", lambda: len(done) == 30)
        expect("tasks", sorted(done), list(range(30)))
        for worker in workers:
            await worker.close()


async def rpc(broker):
    """aio-pika's own pattern of remote calls, which dead-letters what nobody answers."""
    async with await aio_pika.connect_robust(broker.uri) as connection:
        channel = await connection.channel()
        calls = await RPC.create(channel)

        async def square(*, number):
            return number * number

        await calls.register(broker.queue("square"), square, auto_delete=False)
        for number in range(5):
            expect("square", await calls.call(broker.queues[0], dict(number=number)), number * number)
        await calls.close()


async def confirms_asynchronous(broker):
    async with await aio_pika.connect_robust(broker.uri) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        queue = await channel.declare_queue(broker.queue("confirms"), durable=True)
        message = Message(b"order", delivery_mode=DeliveryMode.PERSISTENT)
        sent = [channel.default_exchange.publish(message, queue.name) for _ in range(500)]
        confirmations = await asyncio.gather(*sent)
        expect("confirmed", {type(each).__name__ for each in confirmations}, {"Ack"})
        other = await connection.channel()
        declared = await other.declare_queue(queue.name, passive=True)
        expect("depth", declared.declaration_result.message_count, 500)
        try:
            await channel.default_exchange.publish(message, broker.prefix)
            raise AssertionError("a message without a queue was accepted")
        except aio_pika.exceptions.DeliveryError as error:
            expect("reply code", error.message.delivery.reply_code, 312)


async def acknowledgements(broker):
    async with await aio_pika.connect_robust(broker.uri) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(broker.queue("acks"), durable=True)
        for text in "one", "two":
            await channel.default_exchange.publish(Message(text.encode()), queue.name)
        first = await queue.get(timeout=PATIENCE)
        await first.nack(requeue=True)
        again = await queue.get(timeout=PATIENCE)
        expect("again", (again.body, again.redelivered), (b"one", True))
        await again.reject(requeue=False)
        last = await queue.get(timeout=PATIENCE)
        expect("the other", last.body, b"two")
        await last.ack()
        expect("nothing left", await queue.get(fail=False), None)


async def transactions(broker):
    async with await aio_pika.connect_robust(broker.uri) as connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue(broker.queue("tx"), durable=True)
        try:
            async with channel.transaction():
                await channel.default_exchange.publish(Message(b"rolled back"), queue.name)
                raise KeyError
        except KeyError:
            pass
        async with channel.transaction():
            await channel.default_exchange.publish(Message(b"committed"), queue.name)
        expect("message", (await queue.get(timeout=PATIENCE, no_ack=True)).body, b"committed")
        expect("nothing left", await queue.get(fail=False), None)


async def dead_letters(broker):
    async with await aio_pika.connect_robust(broker.uri) as connection:
        channel = await connection.channel()
        dead = await channel.declare_queue(broker.queue("dead"), durable=True)
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name, "x-queue-type": "quorum"}
        queue = await channel.declare_queue(broker.queue("work"), durable=True, arguments=arguments)
        await channel.default_exchange.publish(Message(b"slow", expiration=0.1), queue.name)
        for _ in range(100):
            if got := await dead.get(fail=False, no_ack=True):
                break
            await asyncio.sleep(0.05)
        death = got.headers["x-death"][0]
        expect("death", (death["reason"], death["queue"], death["original-expiration"]), ("expired", queue.name, "100"))


async def stream(broker):
    async with await aio_pika.connect_robust(broker.uri) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=5)
        queue = await channel.declare_queue(broker.queue("stream"), durable=True, arguments={"x-queue-type": "stream"})
        for number in range(20):
            await channel.default_exchange.publish(Message(str(number).encode()), queue.name)
        seen = []

        async def on_message(message):
            seen.append(message.headers["x-stream-offset"])
            await message.ack()

        await queue.consume(on_message, arguments={"x-stream-offset": 5})
        await until("messages", lambda: len(seen) >= 15)
        expect("offsets", seen, list(range(5, 20)))


async def tls(broker):
    context = ssl.create_default_context(cafile=given("COMPAT_CA"))
    async with await aio_pika.connect_robust(given("COMPAT_URI_TLS"), ssl_context=context) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(Message(b"secret" * 100_000), queue.name)
        expect("size", len((await queue.get(timeout=PATIENCE)).body), 600_000)


async def missing_exchange(broker):
    async with await aio_pika.connect(broker.uri) as connection:
        channel = await connection.channel()
        try:
            await channel.get_exchange(broker.prefix)
            raise AssertionError("there")
        except aio_pika.exceptions.ChannelNotFoundEntity as error:
            expect(str(error), f"no exchange '{broker.prefix}' in vhost '/'" in str(error), True)


async def recovery(broker):
    """The broker is restarted: a robust connection comes back with its queues, bindings and consumers."""
    given("COMPAT_CONTROL")
    async with await aio_pika.connect_robust(broker.uri, reconnect_interval=0.3) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(broker.exchange("robust"), ExchangeType.FANOUT, durable=True)
        exclusive = await channel.declare_queue(broker.prefix + ".exclusive", exclusive=True)
        await exclusive.bind(exchange)
        durable = await channel.declare_queue(broker.queue("durable"), durable=True)
        seen, back = [], asyncio.Event()
        await exclusive.consume(lambda message: seen.append(message.body), no_ack=True)
        message = Message(b"kept", delivery_mode=DeliveryMode.PERSISTENT)
        for _ in range(50):
            await channel.default_exchange.publish(message, durable.name)
        connection.reconnect_callbacks.add(lambda *_: back.set())
        await asyncio.to_thread(control, "restart")
        await asyncio.wait_for(back.wait(), 30)

        deadline = asyncio.get_running_loop().time() + 10
        while not seen and asyncio.get_running_loop().time() < deadline:
            try:
                await asyncio.wait_for(exchange.publish(Message(b"after"), ""), 2)
            except (aio_pika.exceptions.AMQPError, asyncio.TimeoutError, RuntimeError):
                pass
            await asyncio.sleep(0.2)
        expect("by what was recovered", seen[:1], [b"after"])
        count = 0
        while await durable.get(fail=False, no_ack=True):
            count += 1
        expect("kept", count, 50)


def played(scenario):
    def play(broker):
        asyncio.run(scenario(broker))

    return play


SCENARIOS = {
    "hello-world": hello_world,
    "work-queues": work_queues,
    "publish-subscribe": publish_subscribe,
    "rpc": rpc,
    "confirms-asynchronous": confirms_asynchronous,
    "tls": tls,
    "acknowledgements": acknowledgements,
    "transactions": transactions,
    "dead-letters": dead_letters,
    "stream": stream,
    "missing-exchange": missing_exchange,
    "recovery": recovery,
}

if __name__ == "__main__":
    harness.main({name: played(scenario) for name, scenario in SCENARIOS.items()}, Broker)
