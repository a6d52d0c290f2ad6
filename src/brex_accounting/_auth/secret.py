"""Secrets that frames can hold: a traceback that shows locals shows them as "…"."""

from __future__ import annotations

from typing import Any

from brex_accounting._arguments import SURROGATE, VISIBLE_ASCII
from brex_accounting.errors import ConfigurationError

from .tokens import _Veiled


class Given(_Veiled, frozen=True):
    """What a caller passed as a secret, which may be anything as long as it is not checked."""

    value: Any


def check_token(secret: Given, name: str) -> str:
    """Check a token that goes into a header or a form."""
    if not isinstance(secret.value, str) or not VISIBLE_ASCII.fullmatch(secret.value):
        raise ConfigurationError(
            f"{name} must be a string of visible ASCII characters: no spaces, no line breaks, not empty."
        )
    return str.__str__(secret.value)


def check_client_secret(secret: Given) -> str:
    if not isinstance(secret.value, str) or not secret.value:
        raise ConfigurationError("client_secret must be a string, and not empty.")
    if SURROGATE.search(secret.value):  # the error of encoding it would hold it
        raise ConfigurationError("client_secret holds a character that is not Unicode text (a lone surrogate).")
    return str.__str__(secret.value)
