"""How to read what the customer's browser comes back with (RFC 6749 4.1.2, RFC 9207). No I/O."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from .tokens import _Veiled


class Callback(_Veiled, frozen=True):
    """What the browser came back with."""

    state: str | None = None
    code: str | None = None
    error: str | None = None
    error_description: str | None = None
    iss: str | None = None


def read_callback(callback_url: object) -> Callback | None:
    """Read the query of an address; None: it cannot be an authorization server's answer."""
    if not isinstance(callback_url, str):
        return None
    try:
        fields = parse_qs(urlsplit(callback_url).query, errors="strict", max_num_fields=100)
    except ValueError:
        return None
    known = {name: values for name, values in fields.items() if name in Callback.__struct_fields__}
    if any(len(values) > 1 for values in known.values()):
        return None
    return Callback(**{name: values[0] for name, values in known.items()})
