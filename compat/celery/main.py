"""Runs scenarios with a Celery application and its worker, and prints one line for each: python main.py URI [SCENARIO ...]"""

import datetime
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import harness  # noqa: E402
from harness import expect  # noqa: E402

PATIENCE = 10  # seconds for one task
os.environ["COMPAT_PREFIX"] = f"compat.celery.{uuid.uuid4().hex[:12]}"
TICKS = os.environ["COMPAT_TICKS"] = os.path.join(tempfile.mkdtemp(), "ticks")  # where the scheduled task leaves its mark
os.environ["COMPAT_BROKER"] = sys.argv[1] if len(sys.argv) > 1 else ""

import tasks  # noqa: E402
from celery import chain, group  # noqa: E402
from celery.exceptions import TaskRevokedError  # noqa: E402
from tasks import add, app, fail, flaky, pause  # noqa: E402


def start_worker(prefix, environment=None):
    command = [sys.executable, "-B", "-m", "celery", "-A", "tasks", "worker", "--concurrency=2", "--loglevel=WARNING"]
    command += ["--hostname", f"{prefix}@localhost"]
    return subprocess.Popen(command, cwd=HERE, env=environment, stdout=sys.stderr, stderr=sys.stderr, stdin=subprocess.DEVNULL)


def delete(prefix):
    with app.connection() as connection, connection.channel() as channel:
        for name in "work", "slow":
            channel.queue_delete(f"{prefix}.{name}")
            channel.exchange_delete(f"{prefix}.{name}")


class Worker:
    """The worker, which all scenarios share: a process as an operator would start it."""

    process = None

    def __init__(self, _uri):
        if Worker.process:
            return
        Worker.process = start_worker(tasks.PREFIX)
        deadline = time.monotonic() + 40
        while not app.control.ping(timeout=0.5):
            if time.monotonic() > deadline or Worker.process.poll() is not None:
                break  # the scenarios tell

    def clean_up(self):
        pass


def delay(_):
    expect("sum", add.delay(2, 3).get(timeout=PATIENCE), 5)
    try:
        fail.delay().get(timeout=PATIENCE)
        raise AssertionError("no failure")
    except ValueError as error:
        expect("reason", str(error), "on purpose")


def groups(_):
    expect("group", group(add.s(number, 1) for number in range(20))().get(timeout=PATIENCE), list(range(1, 21)))
    expect("chain", chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=PATIENCE), 10)


def with_a_worker_of_its_own(label, code, settings):
    """What the code prints, which imports the tasks with these settings, as its worker does."""
    prefix = f"{tasks.PREFIX}.{label}"
    environment = {**os.environ, "COMPAT_PREFIX": prefix, **settings}
    worker = start_worker(prefix, environment)
    try:
        said = subprocess.run([sys.executable, "-B", "-c", code], cwd=HERE, env=environment, capture_output=True, text=True, timeout=50)
    finally:
        worker.terminate()
        worker.wait(PATIENCE)
        delete(prefix)
    return said.stdout.strip() or said.stderr[-200:]


def chords(_):
    """A chord needs a backend that keeps results: files here."""
    code = (
        "from tasks import *; from celery import chord; "
        "print(chord(add.s(number, number) for number in range(10))(total.s()).get(timeout=40))"
    )
    with tempfile.TemporaryDirectory() as folder:
        expect("sum", with_a_worker_of_its_own("chord", code, {"COMPAT_BACKEND": f"file://{folder}"}), "90")


DELAYED = """
from tasks import *
def waiting(level):
    with app.connection() as connection, connection.channel() as channel:
        return channel.queue_declare(f"celery_delayed_{level}", passive=True).message_count
assert add.delay(1, 1).get(timeout=40) == 2  # the worker has declared what it needs
begin = time.monotonic()
late = add.apply_async((1, 2), countdown=3)
meanwhile = add.delay(3, 4).get(timeout=20)
held = waiting(1)
print(meanwhile, held, late.get(timeout=20), 2.9 < time.monotonic() - begin < 10)
"""


def delayed_by_the_broker(_):
    """With quorum queues a task's delay is a way through some of 28 queues, one for each bit of its seconds."""
    try:
        expect("meanwhile, held, late, in time", with_a_worker_of_its_own("quorum", DELAYED, {"COMPAT_QUORUM": "yes"}), "7 1 3 True")
    finally:
        with app.connection() as connection, connection.channel() as channel:
            for level in range(28):
                channel.queue_delete(f"celery_delayed_{level}")
                channel.exchange_delete(f"celery_delayed_{level}")
            channel.exchange_delete("celery_delayed_delivery")


def beat(_):
    """The scheduler, a process of its own, sends a task every half second."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-B", "-m", "celery", "-A", "tasks", "beat", "--loglevel=WARNING", "--schedule", f"{folder}/schedule"]
        scheduler = subprocess.Popen([*command, "--pidfile="], cwd=HERE, stdout=sys.stderr, stderr=sys.stderr, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE
            while not os.path.exists(TICKS) or len(Path(TICKS).read_text().splitlines()) < 3:
                if time.monotonic() > deadline:
                    raise TimeoutError("the scheduled task has not run three times")
                time.sleep(0.1)
        finally:
            scheduler.terminate()
            scheduler.wait(PATIENCE)


def retry(_):
    expect("retries", flaky.delay(2).get(timeout=PATIENCE), 2)


def eta(_):
    begin = time.monotonic()
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    expect("sum", add.apply_async((1, 1), eta=when).get(timeout=PATIENCE), 2)
    if time.monotonic() - begin < 0.9:
        raise AssertionError("it ran before its time")
    expect("countdown", add.apply_async((1, 2), countdown=0.3).get(timeout=PATIENCE), 3)


def revoke(_):
    held = add.apply_async((1, 1), countdown=3)
    app.control.revoke(held.id)
    deadline = time.monotonic() + PATIENCE
    while not any(held.id in each for each in (app.control.inspect().revoked() or {}).values()):
        if time.monotonic() > deadline:
            raise TimeoutError("the worker does not know of it")
    time.sleep(3.2)
    try:
        held.get(timeout=PATIENCE)
        raise AssertionError("it ran")
    except TaskRevokedError:
        pass
    running = pause.delay(30)
    time.sleep(0.5)
    running.revoke(terminate=True)
    expect("afterwards", add.delay(1, 1).get(timeout=PATIENCE), 2)


def inspect(_):
    name = f"{tasks.PREFIX}@localhost"
    look = app.control.inspect([name], timeout=2)
    expect("ping", look.ping(), {name: {"ok": "pong"}})
    expect("queues", sorted(each["name"] for each in look.active_queues()[name]), [f"{tasks.PREFIX}.slow", f"{tasks.PREFIX}.work"])
    expect("broker", look.stats()[name]["broker"]["transport"], "amqp")
    expect("tasks", "tasks.add" in look.registered()[name], True)


def events(_):
    """What `celery events` and Flower read."""
    seen = []
    app.control.enable_events()
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-succeeded": seen.append})
        threading.Timer(1, add.delay, (1, 1)).start()  # once the receiver is there
        try:
            receiver.capture(limit=20, timeout=3)
        except TimeoutError:
            pass
    expect("told of the task", bool(seen), True)


def routing(_):
    expect("by another queue", add.apply_async((5, 5), queue=f"{tasks.PREFIX}.slow").get(timeout=PATIENCE), 10)
    expect("with a priority", add.apply_async((5, 6), priority=3).get(timeout=PATIENCE), 11)


def shutdown(_):
    """A worker that is told to stop finishes what it does."""
    last = pause.delay(1)
    time.sleep(0.3)
    Worker.process.terminate()
    expect("exit status", Worker.process.wait(PATIENCE), 0)
    expect("the last task", last.get(timeout=PATIENCE), "rested")
    delete(tasks.PREFIX)
    shutil.rmtree(Path(TICKS).parent)


SCENARIOS = {
    "celery-delay": delay,
    "celery-groups": groups,
    "celery-chord": chords,
    "celery-retry": retry,
    "celery-eta": eta,
    "celery-delayed-delivery": delayed_by_the_broker,
    "celery-beat": beat,
    "celery-revoke": revoke,
    "celery-inspect": inspect,
    "celery-events": events,
    "celery-routing": routing,
    "celery-shutdown": shutdown,
}

if __name__ == "__main__":
    harness.MAIN_THREAD = True  # results by rpc:// come to the thread that asked first
    harness.LONG |= set(SCENARIOS)
    harness.main(SCENARIOS, Worker)
