"""What the bench-* scripts share: brokers of their own to measure, `leveret perf`, and what machine this is.

The binary is target/release/leveret or the one that the variable LEVERET names; it is the broker and the
load generator. RABBITMQ_UP names the script that installs and starts RabbitMQ, by default
../shared/peers/rabbitmq-up beside this checkout. Both keep their data below `settings.work`.
"""

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


class Problem(Exception):
    """Something that has to be told in one line, without a traceback."""


class Leveret:
    queue_type = None

    def __init__(self, name, settings):
        self.name, self.settings = name, settings
        self.port = settings.port
        self.data = settings.work / "leveret"
        self.log = settings.work / "leveret.log"
        self.process = None

    def wipe(self):
        shutil.rmtree(self.data, ignore_errors=True)

    def begin(self):
        """Starts it and does not wait for anything."""
        command = [self.settings.leveret, "server", "--listen", f"{HOST}:{self.port}", "--http-listen", "none"]
        command += ["--metrics-listen", "none"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", self.data, *self.settings.leveret_option], stdout=log, stderr=log
            )

    def started(self):
        """What is to be done once it serves."""

    def pid(self):
        return self.process.pid

    def version(self):
        return output(self.settings.leveret, "--version")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()


class RabbitMQ:
    def __init__(self, name, settings):
        self.name, self.settings = name, settings
        self.queue_type = name.partition("-")[2] or None
        self.port = settings.port + 1
        self.data = settings.work / "debian/run/peer/data"
        self.starter = None
        ports = {"PEER_AMQP_PORT": str(self.port), "PEER_HTTP_PORT": str(self.port + 10_000)}
        self.environment = {**os.environ, **ports, "PEER_DIR": str(settings.work)}

    def wipe(self):
        shutil.rmtree(self.data, ignore_errors=True)

    def begin(self):
        with open(self.settings.work / "rabbitmq-up.log", "ab") as log:
            self.starter = subprocess.Popen(
                [self.settings.rabbitmq_up], env=self.environment, stdout=log, stderr=log
            )

    def started(self):
        if self.starter.wait() != 0:
            raise Problem(f"RabbitMQ does not start; see {self.settings.work}/rabbitmq-up.log")

    def pid(self):
        (file,) = self.data.glob("*.pid")
        return int(file.read_text())

    def version(self):
        return "RabbitMQ " + output(self.settings.rabbitmq_up, "ctl", "version", env=self.environment)

    def stop(self):
        pid = self.pid()
        subprocess.run(
            [self.settings.rabbitmq_up, "down"], env=self.environment, check=True, stdout=subprocess.DEVNULL
        )
        wait_for_end(pid)

    def kill(self):
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)


class Fresh:
    """A broker that starts with nothing, serves while a `with` block runs, and is wiped after it."""

    def __init__(self, broker):
        self.broker = broker

    def __enter__(self):
        broker = self.broker
        if port_is_open(broker.port):
            raise Problem(f"something serves on port {broker.port} already")
        broker.wipe()
        broker.begin()
        try:
            perf(broker.settings, "backlog", "--phases", "ready", "--messages", 0, "--patience", 300, *at(broker))
            broker.started()
        except BaseException:
            self.__exit__()
            raise
        return broker

    def __exit__(self, *_):
        self.broker.stop()
        self.broker.wipe()


def wait_for_end(pid):
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.002)


def port_is_open(port):
    with socket.socket() as attempt:
        return attempt.connect_ex((HOST, port)) == 0


def uri(broker):
    return f"amqp://guest:guest@{HOST}:{broker.port}"


def at(broker):
    return ["--uri", uri(broker)]


def perf(settings, *args):
    """Runs `leveret perf` and returns its figures."""
    words = [str(word) for word in args]
    log = settings.work / "perf.log"
    with open(log, "ab") as file:
        done = subprocess.run([settings.leveret, "perf", *words, "--json"], stdout=subprocess.PIPE, stderr=file)
    if done.returncode != 0:
        raise Problem(f"{' '.join(words[:3])}: {log.read_text().splitlines()[-1]}")
    return json.loads(done.stdout)


def output(*command, env=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
    return done.stdout.strip()


def resident_mib(pid):
    """Resident memory of a process and all below it."""
    lines = output("ps", "-e", "-o", "pid=,ppid=,rss=").splitlines()
    processes = [tuple(map(int, line.split())) for line in lines]
    family = {pid}
    while below := {child for child, parent, _ in processes if parent in family} - family:
        family |= below
    return sum(rss for child, _, rss in processes if child in family) / 1024


def command_line():
    return " ".join([os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])


def machine(settings):
    """What the figures depend on besides the brokers."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), "unknown")
    where = output("findmnt", "-n", "-o", "FSTYPE", "-T", settings.work) or "an unknown file system"
    return f"{platform.system()} {platform.release()}, {os.cpu_count()} processors ({model}), {where}"


def say(line):
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


def add_options(add):
    """The options that all these scripts have."""
    add("--work", type=Path, default=Path("/var/tmp/leveret-bench"), help="folder on the disk to measure; wiped")
    add("--port", type=int, default=5702, help="for Leveret; RabbitMQ takes the next")
    add("--leveret-option", action="append", default=[], help="one more option of leveret server")


def prepare(settings, rabbitmq):
    """Finds the programs, RabbitMQ too if it is wanted, and makes the folder."""
    settings.leveret = Path(os.environ.get("LEVERET", ROOT / "target/release/leveret"))
    settings.rabbitmq_up = Path(os.environ.get("RABBITMQ_UP", ROOT.parent / "shared/peers/rabbitmq-up"))
    if not settings.leveret.exists():
        raise Problem(f"{settings.leveret} is missing: build it, or name it in LEVERET")
    if rabbitmq and not settings.rabbitmq_up.exists():
        raise Problem(f"{settings.rabbitmq_up} is missing: name it in RABBITMQ_UP, or measure Leveret alone")
    settings.work.mkdir(parents=True, exist_ok=True)


def run(main):
    """Ends the script as `main` does: a problem is one line."""
    # Stopped by a signal, it stops its brokers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except Problem as problem:
        sys.exit(f"{Path(sys.argv[0]).name}: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
