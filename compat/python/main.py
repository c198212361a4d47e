"""Runs every scenario with pika and prints one line for each: python main.py URI"""

import os
import sys
import threading
import time

import confirms
import patterns
from broker import Broker

SCENARIOS = {
    "hello-world": patterns.hello_world,
    "work-queues": patterns.work_queues,
    "publish-subscribe": patterns.publish_subscribe,
    "routing": patterns.routing,
    "topics": patterns.topics,
    "rpc": patterns.rpc,
    "confirms-one-by-one": confirms.one_by_one,
    "confirms-in-batches": confirms.in_batches,
    "confirms-asynchronous": confirms.asynchronous,
}
SCENARIO_SECONDS = 10
CLEANUP_SECONDS = 2
PROGRAM_SECONDS = 26  # the last scenario's cleanup comes on top


def call_within(seconds, function, *arguments):
    """Calls the function; None when it went well, else the reason why it did not."""
    outcome = [f"not finished after {seconds:.0f} s"]

    def call():
        try:
            function(*arguments)
            outcome[0] = None
        except Exception as error:
            outcome[0] = " ".join((str(error) or repr(error)).split())

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0]


def main(uri):
    deadline = time.monotonic() + PROGRAM_SECONDS
    failures = 0
    for name, scenario in SCENARIOS.items():
        left = deadline - time.monotonic()
        if left <= 0:
            reason = "not run: the program's time is over"
        else:
            broker = Broker(uri)
            reason = call_within(min(left, SCENARIO_SECONDS), scenario, broker)
            unclean = call_within(CLEANUP_SECONDS, broker.clean_up)
            reason = reason or (unclean and f"cleaning up: {unclean}")
        failures += reason is not None
        print(f"FAILED {name}: {reason}" if reason else f"ok {name}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} amqp://USER:PASSWORD@HOST:PORT/VHOST")
    # Not sys.exit: a scenario that hangs must not keep the program alive.
    os._exit(main(sys.argv[1]))
