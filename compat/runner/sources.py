"""Source packages, from the registries that have the libraries' tests in them, unpacked into compat/.cache/suites."""

import hashlib
import json
import shutil
import sys
import tarfile
from pathlib import Path

from .install import CACHE, Problem, need, sh

SUITES = CACHE / "suites"
DEBIAN = "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main\n"


def unpack(archive, digest, name):
    """A fresh copy of what is in the archive, which must have the digest (SHA-256 in hexadecimal)."""
    if (actual := hashlib.sha256(archive.read_bytes()).hexdigest()) != digest:
        archive.unlink()
        raise Problem(f"{archive.name} has the digest {actual}")
    target = SUITES / name
    shutil.rmtree(target, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(target)
    (inner,) = target.iterdir()
    return inner


def kept(name, fetch):
    """The archive that fetch(folder) brings into its folder, brought only once."""
    folder = SUITES / f"{name}.fetched"
    found = [path for path in folder.glob("*.tar.*")] if folder.exists() else []
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        fetch(folder)
        found = list(folder.glob("*.tar.*"))
    if len(found) != 1:
        raise Problem(f"{folder} was to have one archive, and has {len(found)}")
    return found[0]


def debian(name, version, digest):
    """The upstream source of a Debian package."""
    def fetch(folder):
        need("apt-get")
        apt = SUITES / "apt"
        for part in "lists/partial", "archives/partial":
            (apt / part).mkdir(parents=True, exist_ok=True)
        (apt / "sources.list").write_text(DEBIAN)
        places = {"Dir::Etc::SourceList": apt / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
                  "Dir::State::Lists": apt / "lists", "Dir::Cache": apt, "APT::Sandbox::User": "root"}
        options = [part for key, value in places.items() for part in ("-o", f"{key}={value}")]
        if not list((apt / "lists").glob("*Sources*")):
            sh(["apt-get", *options, "update", "-q"], folder)
        sh(["apt-get", *options, "source", "-q", "--download-only", "--tar-only", f"{name}={version}"], folder)

    return unpack(kept(name, fetch), digest, name)


def pypi(name, version, digest):
    """A source distribution."""
    def fetch(folder):
        sh([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder, f"{name}=={version}"], folder)

    return unpack(kept(name, fetch), digest, name)


def go_module(path, version):
    """A copy of a module, as Go's checksum database knows it."""
    need("go")
    name = path.rpartition("/")[2]
    empty = SUITES / f"{name}.fetched"
    empty.mkdir(parents=True, exist_ok=True)
    (empty / "go.mod").write_text("module compat\n")
    told = json.loads(sh(["go", "mod", "download", "-json", f"{path}@{version}"], empty))
    return copy(Path(told["Dir"]), name)


def crate(name, version):
    """A copy of a crate's source, as cargo has checked it."""
    need("cargo")
    project = SUITES / f"{name}.fetched"
    (project / "src").mkdir(parents=True, exist_ok=True)
    (project / "src" / "lib.rs").touch()
    (project / "Cargo.toml").write_text(
        f'[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n{name} = "={version}"\n[workspace]\n'
    )
    told = json.loads(sh(["cargo", "metadata", "--quiet", "--format-version", "1"], project).splitlines()[-1])
    (manifest,) = [each["manifest_path"] for each in told["packages"] if each["name"] == name]
    return copy(Path(manifest).parent, name)


def copy(source, name):
    target = SUITES / name
    if not target.exists():
        shutil.copytree(source, target)
        for path in [target, *target.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
    return target


