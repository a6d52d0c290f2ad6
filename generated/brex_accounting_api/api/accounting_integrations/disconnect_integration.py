from typing import Any, cast
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.accounting_error_response import AccountingErrorResponse
from ...models.integration import Integration
from ...types import (
    Response,
    read_answer,
)


def get_kwargs(
    integration_id: str,
) -> dict[str, Any]:
    """What to send, as keyword arguments of `httpx.Client.request`."""

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v3/accounting/integration/{integration_id}/disconnect".format(
            integration_id=quote(str(integration_id), safe=""),
        ),
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> AccountingErrorResponse | Integration | None:
    if response.status_code == 200:
        response_200 = cast(Integration, read_answer(Integration, response))
        return response_200

    if response.status_code == 401:
        response_401 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_401

    if response.status_code == 403:
        response_403 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_403

    if response.status_code == 404:
        response_404 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_404

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
    integration_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[AccountingErrorResponse | Integration]:
    """Disconnect an active integration

     Turns an active integration into a disabled one. A second disconnect is a conflict (409), and so is
    a
    retry after a first attempt that was applied but whose answer got lost.

    Args:
        integration_id (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | Integration]
    """

    kwargs = get_kwargs(
        integration_id=integration_id,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    integration_id: str,
    *,
    client: AuthenticatedClient,
) -> AccountingErrorResponse | Integration | None:
    """Disconnect an active integration

     Turns an active integration into a disabled one. A second disconnect is a conflict (409), and so is
    a
    retry after a first attempt that was applied but whose answer got lost.

    Args:
        integration_id (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | Integration
    """

    return sync_detailed(
        integration_id=integration_id,
        client=client,
    ).parsed


async def asyncio_detailed(
    integration_id: str,
    *,
    client: AuthenticatedClient,
) -> Response[AccountingErrorResponse | Integration]:
    """Disconnect an active integration

     Turns an active integration into a disabled one. A second disconnect is a conflict (409), and so is
    a
    retry after a first attempt that was applied but whose answer got lost.

    Args:
        integration_id (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | Integration]
    """

    kwargs = get_kwargs(
        integration_id=integration_id,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    integration_id: str,
    *,
    client: AuthenticatedClient,
) -> AccountingErrorResponse | Integration | None:
    """Disconnect an active integration

     Turns an active integration into a disabled one. A second disconnect is a conflict (409), and so is
    a
    retry after a first attempt that was applied but whose answer got lost.

    Args:
        integration_id (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | Integration
    """

    return (
        await asyncio_detailed(
            integration_id=integration_id,
            client=client,
        )
    ).parsed
