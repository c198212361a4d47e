"""Runs PerfTest in a few of its ways and prints one line for each: python main.py CLASSPATH URI [SCENARIO ...]"""

import base64
import contextlib
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

import harness  # noqa: E402

CLASSPATH = sys.argv.pop(1)
SECONDS = 4


class Broker:
    def __init__(self, uri):
        self.uri = uri.rstrip("/")

    def clean_up(self):
        """Queues that nobody uses any more, by the HTTP API where there is one."""
        address = urllib.parse.urlsplit(os.environ.get("COMPAT_HTTP", ""))
        if not address.hostname:
            return
        login = base64.b64encode(f"{address.username}:{address.password}".encode()).decode()
        for queue in "compat.perf-quorum", "compat.perf-stream":
            where = f"http://{address.hostname}:{address.port}/api/queues/%2F/{queue}"
            request = urllib.request.Request(where, method="DELETE", headers={"Authorization": f"Basic {login}"})
            with contextlib.suppress(urllib.error.HTTPError):  # it is not there
                urllib.request.urlopen(request, timeout=5).close()


def perf_test(*options):
    """Messages go through in both directions, and it ends well."""
    def play(broker):
        command = ["java", "-cp", CLASSPATH, "com.rabbitmq.perf.PerfTest", "--uri", broker.uri, "--time", str(SECONDS), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        rates = dict(re.findall(r"(sending|receiving) rate avg: (\d+) msg/s", done.stdout))
        if done.returncode or not all(int(rates.get(each, 0)) for each in ("sending", "receiving")):
            raise AssertionError(f"status {done.returncode}: {done.stdout[-200:]} {done.stderr[-300:]}")

    return play


SCENARIOS = {
    "perftest-transient": perf_test("--rate", "2000"),
    "perftest-confirms": perf_test("--rate", "1000", "--confirm", "100", "--flag", "persistent", "--qos", "200", "--queue", "compat.perf", "--auto-delete", "true"),
    "perftest-quorum": perf_test("--rate", "500", "--quorum-queue", "--queue", "compat.perf-quorum", "--confirm", "50", "--qos", "100"),
    "perftest-stream": perf_test("--rate", "500", "--stream-queue", "--queue", "compat.perf-stream", "--confirm", "50"),
    "perftest-fanout": perf_test("--rate", "500", "--producers", "2", "--consumers", "4", "--exchange", "compat.perf-fan", "--type", "fanout"),
}

if __name__ == "__main__":
    harness.LONG |= set(SCENARIOS)
    harness.main(SCENARIOS, Broker)
