"""Addresses: which ones credentials may go to."""

from __future__ import annotations

import ipaddress
import re

import httpx

from brex_accounting.errors import ConfigurationError

Address = httpx.URL


def check_base_url(value: object, name: str = "base_url") -> Address:
    """Check an address that credentials will be sent to. Never quotes it, since it may hold a password."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string.")
    try:
        url = httpx.URL(value)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL()
    if url.scheme not in {"https", "http"} or not is_address(url):
        raise ConfigurationError(f"{name} must be an address such as https://api.brex.com.")
    if url.userinfo:
        raise ConfigurationError(f"{name} must not hold a user name or password: pass a token as auth.")
    if url.query or url.fragment or "?" in value or "#" in value:
        raise ConfigurationError(f"{name} must not hold a query or a fragment.")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ConfigurationError(f"{name} must be https: http, which anyone on the way can read, is for loopback only.")
    return url


def is_address(url: httpx.URL) -> bool:
    """Whether a connection can go there: httpx accepts a space in a host, and any number as a port."""
    try:
        _ = url.host  # which decodes xn--…
    except ValueError:
        return False
    host = url.raw_host.decode("ascii").removesuffix(".")
    is_host = ":" in host or all(re.fullmatch(r"\w([-\w]*\w)?", label) for label in host.split("."))
    return is_host and 0 < (1 if url.port is None else url.port) < 2**16


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
