"""The clients that the API functions take."""

import ssl
from typing import Any, Self

import httpx


class Client:
    """What is the same for all requests to the API.

    Args:
        base_url: The base URL of the API; all requests go to a path relative to it.
        raise_on_unexpected_status: Whether a status that the API's description does not list raises
            errors.UnexpectedStatus; the functions return None otherwise.
        cookies: Cookies to send with every request.
        headers: Headers to send with every request.
        timeout: How long a request may take, 30 seconds by default; None waits for ever. The functions raise
            httpx.TimeoutException when it is exceeded.
        verify_ssl: Whether to verify the server's certificate, or what to verify it with.
        follow_redirects: Whether to follow redirects.
        httpx_args: Further arguments for httpx.Client and httpx.AsyncClient.
    """

    def __init__(
        self,
        base_url: str,
        *,
        raise_on_unexpected_status: bool = True,
        cookies: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        timeout: httpx.Timeout | float | None = 30.0,
        verify_ssl: str | bool | ssl.SSLContext = True,
        follow_redirects: bool = False,
        httpx_args: dict[str, Any] | None = None,
    ) -> None:
        self.raise_on_unexpected_status = raise_on_unexpected_status
        self._base_url = base_url
        self._cookies = dict(cookies or {})
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._verify_ssl = verify_ssl
        self._follow_redirects = follow_redirects
        self._httpx_args = dict(httpx_args or {})
        self._client: httpx.Client | None = None
        self._async_client: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._base_url!r}, timeout={self._timeout!r})"

    def _settings(self) -> dict[str, Any]:
        return {
            "base_url": self._base_url,
            "raise_on_unexpected_status": self.raise_on_unexpected_status,
            "cookies": self._cookies,
            "headers": self._headers,
            "timeout": self._timeout,
            "verify_ssl": self._verify_ssl,
            "follow_redirects": self._follow_redirects,
            "httpx_args": self._httpx_args,
        }

    def _httpx_settings(self) -> dict[str, Any]:
        return {
            "base_url": self._base_url,
            "cookies": self._cookies,
            "headers": self._headers,
            "timeout": self._timeout,
            "verify": self._verify_ssl,
            "follow_redirects": self._follow_redirects,
            **self._httpx_args,
        }

    def with_headers(self, headers: dict[str, str]) -> Self:
        """Get a new client matching this one with additional headers"""
        for client in (self._client, self._async_client):
            if client is not None:
                client.headers.update(headers)
        return type(self)(**self._settings() | {"headers": {**self._headers, **headers}})

    def with_cookies(self, cookies: dict[str, str]) -> Self:
        """Get a new client matching this one with additional cookies"""
        for client in (self._client, self._async_client):
            if client is not None:
                client.cookies.update(cookies)
        return type(self)(**self._settings() | {"cookies": {**self._cookies, **cookies}})

    def with_timeout(self, timeout: httpx.Timeout | float | None) -> Self:
        """Get a new client matching this one with a new timeout configuration"""
        for client in (self._client, self._async_client):
            if client is not None:
                client.timeout = httpx.Timeout(timeout)
        return type(self)(**self._settings() | {"timeout": timeout})

    def set_httpx_client(self, client: httpx.Client) -> Self:
        """Manually set the underlying httpx.Client

        **NOTE**: This will override any other settings on the client, including cookies, headers, and timeout.
        """
        self._client = client
        return self

    def get_httpx_client(self) -> httpx.Client:
        """Get the underlying httpx.Client, constructing a new one if not previously set"""
        if self._client is None:
            self._client = httpx.Client(**self._httpx_settings())
        return self._client

    def __enter__(self) -> Self:
        """Enter a context manager for the underlying httpx.Client; you cannot enter twice (see httpx docs)"""
        self.get_httpx_client().__enter__()
        return self

    def __exit__(self, *args: Any, **kwargs: Any) -> None:
        """Exit a context manager for the underlying httpx.Client (see httpx docs)"""
        self.get_httpx_client().__exit__(*args, **kwargs)

    def set_async_httpx_client(self, async_client: httpx.AsyncClient) -> Self:
        """Manually set the underlying httpx.AsyncClient

        **NOTE**: This will override any other settings on the client, including cookies, headers, and timeout.
        """
        self._async_client = async_client
        return self

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """Get the underlying httpx.AsyncClient, constructing a new one if not previously set"""
        if self._async_client is None:
            self._async_client = httpx.AsyncClient(**self._httpx_settings())
        return self._async_client

    async def __aenter__(self) -> Self:
        """Enter a context manager for the underlying httpx.AsyncClient; you cannot enter twice (see httpx docs)"""
        await self.get_async_httpx_client().__aenter__()
        return self

    async def __aexit__(self, *args: Any, **kwargs: Any) -> None:
        """Exit a context manager for the underlying httpx.AsyncClient (see httpx docs)"""
        await self.get_async_httpx_client().__aexit__(*args, **kwargs)


class AuthenticatedClient(Client):
    """A Client which has been authenticated for use on secured endpoints

    Args:
        base_url: The base URL of the API; all requests go to a path relative to it.
        token: The token to use for authentication.
        prefix: The prefix to use for the Authorization header.
        auth_header_name: The name of the Authorization header.
        settings: The other arguments of Client.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        prefix: str = "Bearer",
        auth_header_name: str = "Authorization",
        **settings: Any,
    ) -> None:
        super().__init__(base_url, **settings)
        self.token = token
        self.prefix = prefix
        self.auth_header_name = auth_header_name

    def _settings(self) -> dict[str, Any]:
        own = {"token": self.token, "prefix": self.prefix, "auth_header_name": self.auth_header_name}
        return super()._settings() | own

    def _httpx_settings(self) -> dict[str, Any]:
        credentials = f"{self.prefix} {self.token}" if self.prefix else self.token
        settings = super()._httpx_settings()
        return settings | {"headers": settings["headers"] | {self.auth_header_name: credentials}}
