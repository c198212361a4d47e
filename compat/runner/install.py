"""Other people's programs, installed once into compat/.cache from their registries."""

import contextlib
import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

COMPAT = Path(__file__).resolve().parent.parent
ROOT = COMPAT.parent
CACHE = COMPAT / ".cache"


FETCH_SECONDS = 240  # for what is asked of a registry
# What tools say when it is our own files that are wrong, and not the way to their registry.
OURS = re.compile(
    r"DO NOT MATCH THE HASHES|EINTEGRITY|EUSAGE|checksum|SECURITY ERROR|go\.sum|lock file|failed to parse|COMPILATION ERROR|Non-parseable"
)


class Problem(Exception):
    """Something that has to be told in one line, without a traceback. `said` is all that a program said."""

    said = ""


class Missing(Problem):
    """What this machine lacks; a client that needs it is skipped."""


def sh(command, directory, **settings):
    """The command's output; a Problem with the end of it when the command fails."""
    done = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **settings,
    )
    if done.returncode:
        end = " / ".join(done.stdout.strip().splitlines()[-3:])
        problem = Problem(f"{' '.join(map(str, command))} failed: {end}")
        problem.said = done.stdout
        raise problem
    return done.stdout


def fetch(command, directory, **settings):
    """The same for what asks a registry, which is tried twice: one that cannot be reached is what this machine lacks."""
    for last in False, True:
        try:
            return sh(command, directory, timeout=FETCH_SECONDS, **settings)
        except subprocess.TimeoutExpired:
            raise Missing(f"not within {FETCH_SECONDS} s: {' '.join(map(str, command))}") from None
        except Problem as problem:
            if OURS.search(problem.said):
                raise
            if last:
                raise Missing(f"what it needs cannot be fetched: {problem}") from None


def need(*tools):
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        raise Missing(f"no {' and no '.join(missing)} here")


def once(target, inputs, version, install):
    """Installs into target unless what is there was made from the same inputs and version."""
    key = hashlib.sha256(version.encode())
    for path in inputs:
        key.update(path.read_bytes())
    stamp = target / "installed"
    if stamp.exists() and stamp.read_text() == key.hexdigest():
        return
    stamp.unlink(missing_ok=True)
    install()
    stamp.write_text(key.hexdigest())


@contextlib.contextmanager
def cache_lock():
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def python_environment(target, requirements, version=sys.version):
    """A virtual environment with what the file of requirements names; its python."""
    python = target / "bin" / "python"

    def install():
        sh([sys.executable, "-m", "venv", "--clear", target], COMPAT)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        fetch([*pip, "--require-hashes", "--requirement", requirements], COMPAT)

    once(target, [requirements], version, install)
    return python
