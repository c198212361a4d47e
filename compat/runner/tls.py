"""A certificate authority for one run, and what it signs: a server's certificate for 127.0.0.1 and a client's."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from .install import sh

DAYS = "3"


@dataclass
class Certificates:
    """Files in PEM."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def certificates(folder):
    """New ones in the folder; None without openssl."""
    if not shutil.which("openssl"):
        return None
    folder.mkdir(parents=True)
    key = ["-newkey", "rsa:2048", "-nodes"]
    sh(["openssl", "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=compat", "-days", DAYS], folder)
    for name, usage in ("server", "serverAuth"), ("client", "clientAuth"):
        extension = folder / f"{name}.ext"
        extension.write_text(f"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\n")
        sh(["openssl", "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"], folder)
        sh(
            ["openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-out", f"{name}.pem", "-days", DAYS, "-extfile", extension], folder,
        )
    return Certificates(*(folder / name for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")))
