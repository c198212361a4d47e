"""The brokers that programs are run against: a Leveret and a RabbitMQ of our own, or one that is there already.

Each has `environment`, the addresses that a program may need beside the URI; what a broker cannot do is not in it:

    COMPAT_URI_VHOST     the same broker, a vhost with a slash in its name
    COMPAT_URI_LIMITED   a user who may configure, write and read only what begins with `allowed.`
    COMPAT_URI_TLS       the same broker by TLS; COMPAT_CA is the file of the certificate authority, COMPAT_CLIENT_CERT
                         and COMPAT_CLIENT_KEY those of a client's certificate
    COMPAT_HTTP          its management HTTP API, with user and password
    COMPAT_CONTROL       POST to /restart here, and it happens (see control.py)
    COMPAT_BLOCK         the same for /block and /unblock
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from .control import Control
from .install import ROOT, Missing, Problem, sh
from .tls import certificates

HOST = "127.0.0.1"
SECONDS = 30  # for a broker to start, and again to stop
VHOST = "compat/vhost"
LIMITED = "compat-limited"


def free_port():
    with socket.create_server((HOST, 0)) as free:
        return free.getsockname()[1]


def is_open(port):
    with contextlib.suppress(OSError):
        socket.create_connection((HOST, port), timeout=1).close()
        return True
    return False


class Given:
    """A broker that is there: nothing is done to it."""

    def __init__(self, uri):
        self.name = "broker"
        self.uri = uri
        self.environment = {}

    def stop(self):
        return None


class Own:
    """What our own brokers have in common."""

    def __init__(self, port, http_port):
        self.port, self.http_port = port, http_port
        self.tls_port = None
        self.uri = f"amqp://guest:guest@{HOST}:{port}/"
        self.http = f"http://{HOST}:{http_port}"
        self.control = None
        self.environment = {}
        self.folder = tempfile.TemporaryDirectory(prefix="leveret-compat-")
        self.certificates = certificates(Path(self.folder.name) / "certificates")

    def begin(self):
        """Starts it and makes it ready for programs."""
        try:
            self.start()
            self.control = Control(self)
            self.environment = {"COMPAT_HTTP": f"http://guest:guest@{HOST}:{self.http_port}"}
            self.environment["COMPAT_CONTROL"] = self.control.uri
            self.environment["COMPAT_BLOCK"] = self.control.uri
            self.prepare()
            if self.tls_port and is_open(self.tls_port):
                self.environment |= {
                    "COMPAT_URI_TLS": f"amqps://guest:guest@localhost:{self.tls_port}/",
                    "COMPAT_CA": str(self.certificates.authority),
                    "COMPAT_CLIENT_CERT": str(self.certificates.client),
                    "COMPAT_CLIENT_KEY": str(self.certificates.client_key),
                }
        except BaseException:
            self.stop()
            raise
        return self

    def prepare(self):
        vhost = urllib.parse.quote(VHOST, safe="")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        allowed = dict.fromkeys(everything, r"^allowed\.")
        self.put(f"/api/vhosts/{vhost}", {})
        self.put(f"/api/permissions/{vhost}/guest", everything)
        self.put(f"/api/users/{LIMITED}", {"password": LIMITED, "tags": ""})
        self.put(f"/api/permissions/%2F/{LIMITED}", allowed)
        self.environment["COMPAT_URI_VHOST"] = f"{self.uri}{vhost}"
        self.environment["COMPAT_URI_LIMITED"] = self.uri.replace("guest:guest", f"{LIMITED}:{LIMITED}")

    def block(self):
        self.ctl("set_vm_memory_high_watermark", "absolute", "1MiB")
        self.wait_for_alarm(True)

    def unblock(self):
        self.ctl("set_vm_memory_high_watermark", "0.6")
        self.wait_for_alarm(False)

    def wait_for_alarm(self, wanted):
        deadline = time.monotonic() + SECONDS
        while self.request("GET", "/api/nodes")[0].get("mem_alarm", not wanted) != wanted:
            if time.monotonic() > deadline:
                raise Problem(f"no alarm of memory, or no end of it, within {SECONDS} s")
            time.sleep(0.1)

    def put(self, path, body):
        self.request("PUT", path, body)

    def request(self, method, path, body=None):
        request = urllib.request.Request(self.http + path, json.dumps(body).encode() if body is not None else None, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise Problem(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None

    def wait_for(self, port, alive=lambda: True):
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if not alive():
                raise Problem(f"{self.name} ended: {self.said()}")
            if is_open(port):
                return
            time.sleep(0.05)
        raise Problem(f"{self.name} does not listen after {SECONDS} s: {self.said()}")

    def stop(self):
        """None when it ended well, else what went wrong."""
        if self.control:
            self.control.stop()
        problem = self.end()
        self.folder.cleanup()
        return problem


def leveret_binary():
    if named := os.environ.get("LEVERET"):
        if not os.access(named, os.X_OK):
            raise Problem(f"LEVERET names {named}, which is no program")
        return Path(named).resolve()
    binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "leveret"
    if not binary.exists():
        print("building Leveret", file=sys.stderr)
        subprocess.run(["cargo", "build", "--release"], cwd=ROOT, stdout=sys.stderr, check=True)
    return binary


class Leveret(Own):
    """A Leveret on free ports, with its data in a folder that goes away with it."""

    name = "leveret"

    def __init__(self, port=None, http_port=None, tls_port=None):
        super().__init__(port or free_port(), http_port or free_port())
        self.binary = leveret_binary()
        self.log = Path(self.folder.name) / "log"
        self.process = None
        if self.certificates:
            self.tls_port = tls_port or free_port()

    def start(self):
        command = [self.binary, "server", "--listen", f"{HOST}:{self.port}", "--http-listen", f"{HOST}:{self.http_port}"]
        command += ["--metrics-listen", "none", "--data-dir", Path(self.folder.name) / "data", *self.tls_settings()]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        for port in self.port, self.http_port:
            self.wait_for(port, lambda: self.process.poll() is None)

    def tls_settings(self):
        if not self.tls_port:
            return []
        files = self.certificates
        settings = {"cacertfile": files.authority, "certfile": files.server, "keyfile": files.server_key}
        settings = {f"ssl_options.{key}": value for key, value in settings.items()} | {"listeners.ssl.1": f"{HOST}:{self.tls_port}"}
        return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]

    def said(self):
        return " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-5:])

    def restart(self):
        if problem := self.end():
            raise Problem(problem)
        self.start()

    def ctl(self, *arguments):
        sh([self.binary, "ctl", "--data-dir", Path(self.folder.name) / "data", *arguments], ROOT)

    def end(self):
        if not self.process:
            return None
        died = self.process.poll()
        if died is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"still ran {SECONDS} s after SIGTERM: {self.said()}"
        if died is not None:
            return f"died with status {status}: {self.said()}"
        if status not in (0, -signal.SIGTERM):
            return f"ended with status {status} on SIGTERM: {self.said()}"
        return None


class RabbitMQ(Own):
    """A RabbitMQ started by `rabbitmq-up`, and stopped in the end; one that serves already is left as it is.

    RABBITMQ_UP names the script, by default ../shared/peers/rabbitmq-up beside this checkout. Its own settings
    (PEER_DIR, PEER_AMQP_PORT, PEER_HTTP_PORT) are taken from the environment as it takes them.
    """

    name = "rabbitmq"

    def __init__(self, tls_port=None):
        port, http_port = (int(os.environ.get(f"PEER_{what}_PORT", default)) for what, default in (("AMQP", 5673), ("HTTP", 15673)))
        super().__init__(port, http_port)
        self.up = Path(os.environ.get("RABBITMQ_UP", ROOT.parent / "shared" / "peers" / "rabbitmq-up"))
        if not os.access(self.up, os.X_OK):
            raise Missing(f"no {self.up} here")
        self.ours = not is_open(port)
        self.peer_environment = dict(os.environ)
        if self.ours:
            self.listen_by_tls(tls_port or free_port())

    def listen_by_tls(self, tls_port):
        """By a second configuration, which RabbitMQ reads from within its root folder."""
        inside = Path(os.environ.get("PEER_DIR", "/var/tmp/leveret-peers")) / "debian" / "run" / "peer"
        if not self.certificates or not inside.parent.exists():
            return
        self.tls_port = tls_port
        inside.mkdir(exist_ok=True)
        for file in self.certificates.authority, self.certificates.server, self.certificates.server_key:
            shutil.copy(file, inside)
            (inside / file.name).chmod(0o644)
        options = '{cacertfile,"/run/peer/ca.pem"},{certfile,"/run/peer/server.pem"},{keyfile,"/run/peer/server.key"}'
        (inside / "advanced.config").write_text(
            f'[{{rabbit,[{{ssl_listeners,[{{"{HOST}",{self.tls_port}}}]}},{{ssl_options,[{options}]}}]}}].\n'
        )
        self.peer_environment["RABBITMQ_ADVANCED_CONFIG_FILE"] = "/run/peer/advanced.config"

    def start(self):
        # Not through a pipe: what it starts would keep that open.
        log = Path(self.folder.name) / "log"
        with open(log, "ab") as out:
            done = subprocess.run([self.up], env=self.peer_environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        if done.returncode:
            raise Problem(f"RabbitMQ does not start: {' / '.join(log.read_text().splitlines()[-3:])}")
        self.wait_for(self.port)

    def begin(self):
        super().begin()
        if not self.ours:
            for what in "COMPAT_CONTROL", "COMPAT_BLOCK":
                del self.environment[what]
        return self

    def said(self):
        return "see its log"

    def ctl(self, *arguments):
        sh([self.up, "ctl", *arguments], ROOT, env=self.peer_environment)

    def restart(self):
        if problem := self.end():
            raise Problem(problem)
        self.start()

    def end(self):
        if not self.ours:
            return None
        with contextlib.suppress(Problem):
            sh([self.up, "down"], ROOT, env=self.peer_environment)
        deadline = time.monotonic() + SECONDS
        while is_open(self.port):
            if time.monotonic() > deadline:
                return f"still serves {SECONDS} s after it was stopped"
            time.sleep(0.2)
        return None


def broker(what):
    """The broker that an argument of --broker names, started."""
    if what == "leveret":
        return Leveret().begin()
    if what == "rabbitmq":
        return RabbitMQ().begin()
    if "://" in what:
        return Given(what)
    raise Problem(f"--broker takes leveret, rabbitmq or a URI, not {what!r}")
