"""A certificate for 127.0.0.1, made for one test run."""

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of a certificate that signs itself, and of its key."""
    openssl = shutil.which("openssl") or pytest.skip("needs the command openssl")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)
    subprocess.run([openssl, *options.split(), *names], check=True, capture_output=True)
    return certificate, key
