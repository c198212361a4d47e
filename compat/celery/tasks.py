"""A Celery application, as its worker and its callers import it: the broker is in COMPAT_BROKER, names begin with COMPAT_PREFIX."""

import os
import time

from celery import Celery
from kombu import Exchange, Queue

PREFIX = os.environ["COMPAT_PREFIX"]
# Quorum queues, and delays in the broker: Celery's "native delayed delivery", which works with topic exchanges.
QUORUM = bool(os.environ.get("COMPAT_QUORUM"))
KIND = "topic" if QUORUM else "direct"
ARGUMENTS = {"x-queue-type": "quorum"} if QUORUM else {}


def queue(name):
    return Queue(f"{PREFIX}.{name}", Exchange(f"{PREFIX}.{name}", KIND), f"{PREFIX}.{name}", durable=True, queue_arguments=ARGUMENTS)


app = Celery("compat", broker=os.environ["COMPAT_BROKER"], backend=os.environ.get("COMPAT_BACKEND", "rpc://"))
app.conf.update(
    task_default_queue=f"{PREFIX}.work",
    task_queues=[queue("work"), queue("slow")],
    task_default_exchange_type=KIND,
    beat_schedule={"tick": {"task": "tasks.tick", "schedule": 0.5}},
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    result_expires=60,
    control_queue_durable=True,  # RabbitMQ 4.3 refuses transient queues that are not exclusive
    event_queue_durable=True,
    control_queue_exclusive=False,
    event_queue_exclusive=False,
)


@app.task
def add(left, right):
    return left + right


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def flaky(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task
def pause(seconds):
    time.sleep(seconds)
    return "rested"


@app.task(ignore_result=True)
def tick():
    with open(os.environ["COMPAT_TICKS"], "a") as ticks:
        ticks.write("tick\n")


@app.task
def fail():
    raise ValueError("on purpose")
