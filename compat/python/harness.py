"""Plays scenarios and prints a line for each, for every Python client."""

import os
import signal
import sys
import threading
import urllib.request

SCENARIO_SECONDS = 15
LONG_SECONDS = 70  # where the broker is restarted
CLEANUP_SECONDS = 5
LONG = {"recovery", "blocked"}
MAIN_THREAD = False  # set where a library wants to be called by one thread only


class Skipped(Exception):
    """The scenario cannot be played here, and why."""


def given(variable):
    """What the runner says about the broker (see compat/runner/brokers.py)."""
    if value := os.environ.get(variable):
        return value
    raise Skipped(f"{variable} is not given")


def control(action):
    """Has the runner do something to the broker, and waits until it has."""
    request = urllib.request.Request(f"{given('COMPAT_CONTROL')}/{action}", b"", method="POST")
    urllib.request.urlopen(request, timeout=LONG_SECONDS).close()


def expect(what, actual, wanted):
    if actual != wanted:
        raise AssertionError(f"{what}: got {actual!r}, wanted {wanted!r}")


def one_line(error):
    return " ".join((str(error) or repr(error)).split())[:300]


def call_within(seconds, function, *arguments):
    """Calls the function; ok, or how else it ended and why."""
    outcome = ["FAILED", f"not finished after {seconds:.0f} s"]

    def call():
        try:
            function(*arguments)
            outcome[:] = "ok", None
        except Skipped as reason:
            outcome[:] = "skipped", one_line(reason)
        except Exception as error:
            outcome[:] = "FAILED", f"{type(error).__name__}: {one_line(error)}"

    if MAIN_THREAD:
        def late(*_):
            raise TimeoutError(outcome[1])

        signal.signal(signal.SIGALRM, late)
        signal.alarm(seconds)
        call()
        signal.alarm(0)
    else:
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(seconds)
    return tuple(outcome)


def main(scenarios, make_broker):
    """Scenarios are name -> function(broker); make_broker(uri) has a clean_up()."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} amqp://USER:PASSWORD@HOST:PORT/VHOST [SCENARIO ...]")
    chosen = [name for name in scenarios if name in (sys.argv[2:] or scenarios)]
    print("scenarios", *chosen, flush=True)
    failures = 0
    for name in chosen:
        broker = make_broker(sys.argv[1])
        outcome, reason = call_within(LONG_SECONDS if name in LONG else SCENARIO_SECONDS, scenarios[name], broker)
        cleaned, unclean = call_within(CLEANUP_SECONDS, broker.clean_up)
        if outcome == "ok" and cleaned != "ok":
            outcome, reason = "FAILED", f"cleaning up: {unclean}"
        failures += outcome == "FAILED"
        print(f"{outcome} {name}: {reason}" if reason else f"{outcome} {name}", flush=True)
    # Not sys.exit: a scenario that hangs must not keep the program alive.
    os._exit(1 if failures else 0)
