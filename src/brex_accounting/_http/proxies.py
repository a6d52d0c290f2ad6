"""Proxies: the one that the caller names, or else the environment's."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import urllib.request
from importlib.util import find_spec

import httpx

from brex_accounting.errors import ConfigurationError

from .addresses import is_address, is_loopback


def check_proxy(value: object, name: str = "proxy") -> httpx.Proxy:
    """Check the address of a proxy. Never quotes it, since it may hold a password."""
    example = "pass an address such as http://proxy.example:3128"
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string: {example}.")
    scheme = value.partition("://")[0].lower() if "://" in value else "http"
    proxy = None
    with contextlib.suppress(ValueError, httpx.InvalidURL):
        proxy = httpx.Proxy(value if "://" in value else f"http://{value}")
    if scheme.startswith("socks"):
        if scheme not in {"socks5", "socks5h"}:
            raise ConfigurationError(f"{name} names a SOCKS proxy of a kind that is not supported: use socks5://.")
        if find_spec("socksio") is None:
            raise ConfigurationError(
                f'{name} names a SOCKS proxy, which needs another package: pip install "httpx[socks]", '
                "or name an HTTP proxy."
            )
    if proxy is None or not is_address(proxy.url):
        raise ConfigurationError(f"{name} is not the address of a proxy: {example}.")
    return proxy


def environment_proxy(url: httpx.URL) -> httpx.Proxy | None:
    """Find the proxy that the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY) or the system names for an address."""
    if is_loopback(url.host):
        return None
    proxies = urllib.request.getproxies()
    kind = next((kind for kind in (url.scheme, "all") if proxies.get(kind)), None)
    if kind is None or _is_bypassed(url, proxies.get("no", "")):
        return None
    names = (name for name in (f"{kind}_proxy", f"{kind}_proxy".upper()) if os.environ.get(name))
    return check_proxy(proxies[kind], next(names, "The system's proxy"))


def _is_bypassed(url: httpx.URL, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host: itself or a domain above it, `*`, an IP network; with a port or without."""
    host, port = url.host.lower().rstrip("."), url.port or (443 if url.scheme == "https" else 80)
    for entry in no_proxy.lower().replace(",", " ").split():
        name, colon, number = entry.rpartition(":")
        if colon and number.isdecimal() and (":" not in name or name.endswith("]")):
            if int(number) != port:
                continue
            entry = name  # noqa: PLW2901
        domain = entry.strip("[]").removeprefix("*.").strip(".")
        if entry == "*" or (domain and (host == domain or host.endswith(f".{domain}"))) or _is_within(host, domain):
            return True
    return not no_proxy and bool(urllib.request.proxy_bypass(host))  # what Windows and macOS have been told


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
