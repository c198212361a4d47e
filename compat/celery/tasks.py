"""A Celery application, as its worker and its callers import it: the broker is in COMPAT_BROKER, names begin with COMPAT_PREFIX."""

import os
import time

from celery import Celery
from kombu import Exchange, Queue

PREFIX = os.environ["COMPAT_PREFIX"]

app = Celery("compat", broker=os.environ["COMPAT_BROKER"], backend=os.environ.get("COMPAT_BACKEND", "rpc://"))
app.conf.update(
    task_default_queue=f"{PREFIX}.work",
    task_queues=[Queue(f"{PREFIX}.{name}", Exchange(f"{PREFIX}.{name}"), f"{PREFIX}.{name}", durable=True) for name in ("work", "slow")],
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


@app.task
def fail():
    raise ValueError("on purpose")
