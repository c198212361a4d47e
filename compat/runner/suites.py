"""The test suites: where each comes from, what it needs of a broker, how it is run and what it then says."""

import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as xml
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from .install import CACHE, COMPAT, need, python_environment, sh
from .sources import crate, debian, go_module, pypi

STAND_INS = COMPAT / "suites.d"
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
HTTP_CLIENT = ["--no-default-features", "--features", "blocking,async,native-tls", "--test", "integration"]


@dataclass
class Suite:
    what: str
    fetch: Callable[[], Path]  # brings it and builds what is to be built; the folder in which it is run
    command: Callable[[Path, Path], list]  # of that folder and a file for its report
    read: Callable[[Path, str], dict]  # test -> ok, FAILED or skipped, from the report and what it said
    environment: dict = field(default_factory=dict)
    users: dict = field(default_factory=dict)  # name -> password, who may do everything in every vhost
    vhosts: dict = field(default_factory=dict)  # name -> settings
    certificates: str = ""  # the folder in it where it looks for those of the authority and the client
    seconds: int = 600


def junit(report, _):
    """The report of pytest or PHPUnit."""
    tests = {}
    if not report.exists() or not report.stat().st_size:  # it was ended before it could write one
        return tests
    for case in xml.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "FAILED" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "ok"
        place = (case.get("classname") or "").split(".")[-1]
        name = f"{place}::{case.get('name')}"
        # What is tried again is there twice: the last time counts.
        tests[name] = outcome
    return tests


def rspec(report, _):
    if not report.exists() or not report.stat().st_size:
        return {}
    kinds = {"passed": "ok", "failed": "FAILED", "pending": "skipped"}
    examples = json.loads(report.read_text())["examples"]
    return {f"{Path(each['file_path']).stem}: {each['full_description']}": kinds[each["status"]] for each in examples}


def go_test(_, said):
    kinds = {"PASS": "ok", "FAIL": "FAILED", "SKIP": "skipped"}
    tests = dict.fromkeys(re.findall(r"^=== RUN +(\S+)$", said, re.M), "FAILED")  # until it says otherwise
    tests |= {name: kinds[kind] for kind, name in re.findall(r"^ *--- (PASS|FAIL|SKIP): (\S+)", said, re.M)}
    return tests


def cargo_test(_, said):
    tests, binary = {}, ""
    for line in said.splitlines():
        if match := re.search(r"Running (?:unittests )?(\S+)", line):
            binary = Path(match[1]).stem
        elif match := re.match(r"test (\S+) (?:- should panic )?\.\.\. (ok|FAILED|ignored)", line):
            tests[f"{binary}::{match[1]}"] = match[2].replace("ignored", "skipped")
    return tests


def in_python(requirements, fetch):
    """The folder of a suite that pytest runs, with what it needs in a virtual environment."""
    def ready():
        python_environment(CACHE / f"suites-{requirements}", COMPAT / "suites.d" / f"{requirements}.txt")
        return fetch()

    return ready


def pytest(requirements, *arguments):
    def command(_, report):
        python = CACHE / f"suites-{requirements}" / "bin" / "python"
        return [python, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=60", f"--junitxml={report}", *arguments]

    return command


def built_by_cargo(fetch, *arguments):
    def ready():
        folder = fetch()
        sh(["cargo", "test", "--quiet", "--no-run", *arguments], folder, env=cargo_environment())
        return folder

    return ready


def cargo_environment():
    return {**os.environ, "CARGO_TARGET_DIR": str(CACHE / "suites" / "target"), "CARGO_PROFILE_TEST_DEBUG": "none"}


def cargo(*arguments):
    def command(*_):
        return ["cargo", "test", "--offline", "--no-fail-fast", *arguments, "--", "--test-threads=1"]

    return command


def amqp091_go():
    folder = go_module("github.com/rabbitmq/amqp091-go", "v1.16.0")
    sh(["go", "test", "-c", "-tags", "integration", "-o", "compat.test", "."], folder)
    return folder


def php_amqplib():
    need("php", "phpunit")
    folder = debian("php-amqplib", "3.7.3-1", "d7b858c32a6347b30db9807d17889f636d6497168fb83076a149b662c38b9203")
    shutil.copytree(STAND_INS / "php", folder / "vendor")
    return folder


def bunny():
    need("ruby", "rspec")
    return debian("ruby-bunny", "2.23.0-1", "620a89c2c3d3455a048e3d09e4dfd6f444feb972e8a8e89691cbbd3ada79ff81")


def pika():
    return debian("python-pika", "1.3.2-1", "5eb71b9a0047c77d99378e525a2041fc50aae4a177b060f9825b3e2fdcc96fc4")


def aiormq():
    folder = debian("python-aiormq", "6.8.1-1", "babf45d414f8754b037a23a3080a55582c1a38162139d25e95b8e83f8c191849")
    metadata = folder / "aiormq-6.8.1.dist-info" / "METADATA"  # it asks for its own version, as if it were installed
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: aiormq\nVersion: 6.8.1\n")
    return folder


def py_amqp():
    return pypi("amqp", "5.4.2", "9362660c4a31150cf18e78cae2ce8aa1e929fc6c6739e69f6dd5dbea9c3edc82")


def kombu():
    return pypi("kombu", "5.7.0", "31e62fdfd2381caa3422f8e02b84a491d9a2180ddda74507b57f4cb1e1c2c2c9")


def rabbitmqadmin():
    """Version 1, as it is; it comes without tests."""
    return debian("rabbitmq-server", "4.0.5-6+deb13u2", "267e83bd2bde81ece1abece365b51d1d1fdbe8a820f90a99c030ebc6edb5fb48")


SUITES = {
    "amqp091-go": Suite(
        "amqp091-go 1.16.0", amqp091_go, lambda *_: ["./compat.test", "-test.v", "-test.timeout", "580s"], go_test,
        environment={"AMQP_URL": "amqp://guest:guest@localhost:5672/"},
    ),
    "pika": Suite(
        "pika 1.3.2", in_python("pika", pika), pytest("pika", "tests/acceptance", "--ignore", "tests/acceptance/twisted_adapter_tests.py", "-o", "python_files=*_test*.py", "-o", "python_classes="), junit,
    ),
    "aiormq": Suite(
        "aiormq 6.8.1", in_python("aiormq", aiormq), pytest("aiormq", "tests"), junit,
        environment={"AMQP_URL": "amqp://guest:guest@localhost/"}, certificates="tests/certs",
    ),
    "py-amqp": Suite("py-amqp 5.4.2", in_python("kombu", py_amqp), pytest("kombu", "t/integration", "-m", "env"), junit, certificates="t/certs"),
    "kombu": Suite("kombu 5.7.0", in_python("kombu", kombu), pytest("kombu", "t/integration/test_py_amqp.py"), junit),
    "php-amqplib": Suite(
        "php-amqplib 3.7.3", php_amqplib,
        lambda _, report: ["phpunit", "--no-configuration", "--bootstrap", "tests/bootstrap.php", "--log-junit", report, "tests/Functional"],
        junit, environment={"TEST_RABBITMQ_HOST": "127.0.0.1"}, certificates="tests/certs",
    ),
    "bunny": Suite(
        "bunny 2.23.0", bunny,
        lambda _, report: ["rspec", "-I", STAND_INS / "ruby", "-I", "lib", "-I", "spec", "--format", "json", "--out", report,
                           "spec/higher_level_api", "spec/lower_level_api", "spec/issues"],
        rspec, environment={"CI": "true"}, users={"bunny_gem": "bunny_password", "bunny_reader": "reader_password", "guest": None},
        vhosts={"bunny_testbed": {}, **{f"bunny_dqt_{kind}": {"default_queue_type": kind} for kind in ("classic", "quorum", "stream")}},
    ),
    "lapin": Suite(
        "lapin 4.12.3", built_by_cargo(lambda: crate("lapin", "4.12.3")), cargo(), cargo_test, environment=cargo_environment(),
    ),
    "amqprs": Suite(
        "amqprs 2.1.5", built_by_cargo(lambda: crate("amqprs", "2.1.5")), cargo(), cargo_test, environment=cargo_environment(),
        users={"user": "bitnami"},
    ),
    "rabbitmqadmin": Suite(
        "rabbitmqadmin 4.0.5 (version 1)", rabbitmqadmin,
        lambda *_: [sys.executable, STAND_INS / "rabbitmqadmin", "deps/rabbitmq_management/bin/rabbitmqadmin"], cargo_test,
    ),
    # Of the management API. With the system's TLS, since building the other takes minutes.
    "rabbitmq_http_client": Suite(
        "rabbitmq_http_client 0.93.0", built_by_cargo(lambda: crate("rabbitmq_http_client", "0.93.0"), *HTTP_CLIENT), cargo(*HTTP_CLIENT),
        cargo_test, environment=cargo_environment(), users={"rust3": "rust3", "guest": None}, vhosts={"rust/http/api/client": {}},
    ),
}

