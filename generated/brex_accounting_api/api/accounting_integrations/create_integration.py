from typing import Any, cast

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.accounting_error_response import AccountingErrorResponse
from ...models.create_integration_request import CreateIntegrationRequest
from ...models.integration import Integration
from ...types import (
    Response,
    encode,
    read_answer,
)


def get_kwargs(
    *,
    body: CreateIntegrationRequest,
) -> dict[str, Any]:
    """What to send, as keyword arguments of `httpx.Client.request`."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v3/accounting/integration",
    }

    _kwargs["content"] = encode(body)

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> AccountingErrorResponse | Integration | None:
    if response.status_code == 200:
        response_200 = cast(Integration, read_answer(Integration, response))
        return response_200

    if response.status_code == 400:
        response_400 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_400

    if response.status_code == 401:
        response_401 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_401

    if response.status_code == 403:
        response_403 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_403

    if response.status_code == 409:
        response_409 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_409

    if response.status_code == 500:
        response_500 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_500

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[AccountingErrorResponse | Integration]:
    return Response(
        status_code=response.status_code,
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    body: CreateIntegrationRequest,
) -> Response[AccountingErrorResponse | Integration]:
    """Register an accounting integration

     Makes a new active integration, or hands back the active one when it already has this vendor and
    this
    vendor account; the answer does not say which of the two happened. An account has at most one active
    integration, so an active one with another vendor or another vendor account is a conflict (409).

    Args:
        body (CreateIntegrationRequest): The accounting system to register with the account.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | Integration]
    """

    kwargs = get_kwargs(
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    body: CreateIntegrationRequest,
) -> AccountingErrorResponse | Integration | None:
    """Register an accounting integration

     Makes a new active integration, or hands back the active one when it already has this vendor and
    this
    vendor account; the answer does not say which of the two happened. An account has at most one active
    integration, so an active one with another vendor or another vendor account is a conflict (409).

    Args:
        body (CreateIntegrationRequest): The accounting system to register with the account.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | Integration
    """

    return sync_detailed(
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: CreateIntegrationRequest,
) -> Response[AccountingErrorResponse | Integration]:
    """Register an accounting integration

     Makes a new active integration, or hands back the active one when it already has this vendor and
    this
    vendor account; the answer does not say which of the two happened. An account has at most one active
    integration, so an active one with another vendor or another vendor account is a conflict (409).

    Args:
        body (CreateIntegrationRequest): The accounting system to register with the account.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | Integration]
    """

    kwargs = get_kwargs(
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    body: CreateIntegrationRequest,
) -> AccountingErrorResponse | Integration | None:
    """Register an accounting integration

     Makes a new active integration, or hands back the active one when it already has this vendor and
    this
    vendor account; the answer does not say which of the two happened. An account has at most one active
    integration, so an active one with another vendor or another vendor account is a conflict (409).

    Args:
        body (CreateIntegrationRequest): The accounting system to register with the account.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | Integration
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
        )
    ).parsed
