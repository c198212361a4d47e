"""Other people's programs, installed once into compat/.cache from their registries."""

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

COMPAT = Path(__file__).resolve().parent.parent
ROOT = COMPAT.parent
CACHE = COMPAT / ".cache"


class Problem(Exception):
    """Something that has to be told in one line, without a traceback."""


class Missing(Problem):
    """What this machine lacks; a client that needs it is skipped."""


def sh(command, directory, **settings):
    """The command's output; a Problem with the end of it when the command fails."""
    done = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **settings,
    )
    if done.returncode:
        said = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise Problem(f"{' '.join(map(str, command))} failed: {said}")
    return done.stdout


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
        sh([*pip, "--require-hashes", "--requirement", requirements], COMPAT)

    once(target, [requirements], version, install)
    return python
