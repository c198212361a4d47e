"""The clients: what each needs, and how to make it ready to run."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from .install import CACHE, COMPAT, Missing, fetch, need, once, python_environment, sh


@dataclass
class Client:
    library: str
    install: Callable[[], list]  # makes it ready and returns the command, to which the URI is added
    fast: bool = False  # plays in every submission's gate


def python(name, program="main.py"):
    """A program in the folder of that name; several in one share an environment."""
    def install():
        interpreter = python_environment(CACHE / name, COMPAT / name / "requirements.txt")
        return [interpreter, "-B", COMPAT / name / program]

    return install


def node(name, program="main.js"):
    def install():
        need("node", "npm")
        source, target = COMPAT / name, CACHE / name
        manifests = [source / "package.json", source / "package-lock.json"]

        def bring():
            target.mkdir(parents=True, exist_ok=True)
            for manifest in manifests:
                shutil.copy(manifest, target)
            fetch(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], target)

        once(target, manifests, sh(["node", "--version"], COMPAT), bring)
        link = source / "node_modules"  # where node looks for what the programs import
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(target / "node_modules", source))
        return ["node", source / program]

    return install


def go(name):
    def install():
        need("go")
        binary = CACHE / name / "compat"
        fetch(["go", "mod", "download"], COMPAT / name)
        sh(["go", "build", "-mod=readonly", "-o", binary, "."], COMPAT / name)
        return [binary]

    return install


def rust(folder, program):
    def install():
        need("cargo")
        target = CACHE / "rust"
        fetch(["cargo", "fetch", "--quiet", "--locked"], COMPAT / folder)
        sh(["cargo", "build", "--quiet", "--locked", "--offline", "--bin", program], COMPAT / folder, env={**os.environ, "CARGO_TARGET_DIR": str(target)})
        return [target / "debug" / program]

    return install


def maven(name, main):
    """A project that is compiled to target/classes, with its dependencies beside it."""
    def install():
        need("java", "javac", "mvn")
        source, target = COMPAT / name, CACHE / name
        inputs = [source / "pom.xml", *sorted((source / "src").rglob("*.*"))]

        def build():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
            goals = ["compile", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=target/lib"]
            fetch(["mvn", "--quiet", "--batch-mode", *goals], target)

        once(target, inputs, sh(["java", "--version"], COMPAT), build)
        return ["java", "-cp", f"{target / 'target' / 'classes'}:{target / 'target' / 'lib'}/*", main]

    return install


def perftest():
    classpath = maven("perftest", "")()[2]
    return [sys.executable, "-B", COMPAT / "perftest" / "main.py", classpath]


def ruby():
    need("ruby")
    if subprocess.run(["ruby", "-e", "require 'bunny'"], capture_output=True).returncode:
        raise Missing("no bunny here (Debian's ruby-bunny)")
    return ["ruby", COMPAT / "ruby" / "main.rb"]


def php():
    need("php")
    library = "/usr/share/php/PhpAmqpLib/autoload.php"
    if not Path(library).exists():
        raise Missing("no php-amqplib here (Debian's php-amqplib)")
    return ["php", COMPAT / "php" / "main.php"]


def dotnet():
    need("mono", "mcs")
    library = Path("/usr/lib/mono/4.5/RabbitMQ.Client.dll")
    if not library.exists():
        raise Missing("no RabbitMQ.Client here (Debian's libmono-rabbitmq4.0-cil)")
    binary = CACHE / "dotnet" / "compat.exe"
    binary.parent.mkdir(parents=True, exist_ok=True)
    sh(["mcs", f"-out:{binary}", f"-r:{library}", *sorted((COMPAT / "dotnet").glob("*.cs"))], COMPAT)
    return ["mono", binary]


def amqp_tools():
    need("amqp-publish", "amqp-consume")
    return [sys.executable, "-B", COMPAT / "amqptools" / "main.py"]


CLIENTS = {
    "lapin": Client("lapin", rust("rust", "lapin"), fast=True),
    "amqprs": Client("amqprs", rust("amqprs", "amqprs")),
    "python": Client("pika", python("python"), fast=True),
    "aiopika": Client("aio-pika", python("aiopika")),
    "pyamqp": Client("py-amqp", python("kombu", "pyamqp.py"), fast=True),
    "kombu": Client("kombu", python("kombu"), fast=True),
    "celery": Client("Celery with a worker", python("celery")),
    "javascript": Client("amqplib", node("javascript"), fast=True),
    "javascript-more": Client("@cloudamqp/amqp-client, amqp-connection-manager, NestJS", node("javascript-more")),
    "go": Client("amqp091-go", go("go")),
    "watermill": Client("watermill-amqp", go("watermill")),
    "java": Client("amqp-client", maven("java", "compat.Main"), fast=True),
    "spring": Client("Spring Boot", maven("spring", "compat.spring.Application")),
    "perftest": Client("PerfTest", perftest),
    "ruby": Client("bunny", ruby, fast=True),
    "php": Client("php-amqplib", php, fast=True),
    "dotnet": Client("RabbitMQ.Client for .NET, on Mono", dotnet, fast=True),
    "amqptools": Client("librabbitmq's tools", amqp_tools, fast=True),
}
