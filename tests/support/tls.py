"""A certificate for localhost, which nobody else trusts, and a server's and a client's contexts that use it."""

import ssl
from pathlib import Path

CERTIFICATE = Path(__file__).parents[1] / "data" / "localhost.pem"


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))
