from typing import Any, cast
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.accounting_error_response import AccountingErrorResponse
from ...models.accounting_record_detailed import AccountingRecordDetailed
from ...types import (
    UNSET,
    Response,
    Unset,
    read_answer,
)


def get_kwargs(
    record_id: str,
    *,
    single_entry: bool | Unset = UNSET,
) -> dict[str, Any]:
    """What to send, as keyword arguments of `httpx.Client.request`."""

    params: dict[str, Any] = {}

    params["single_entry"] = single_entry

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v3/accounting/records/{record_id}".format(
            record_id=quote(str(record_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> AccountingErrorResponse | AccountingRecordDetailed | None:
    if response.status_code == 200:
        response_200 = cast(AccountingRecordDetailed, read_answer(AccountingRecordDetailed, response))
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

    if response.status_code == 404:
        response_404 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_404

    if response.status_code == 500:
        response_500 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_500

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[AccountingErrorResponse | AccountingRecordDetailed]:
    return Response(
        status_code=response.status_code,
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    record_id: str,
    *,
    client: AuthenticatedClient,
    single_entry: bool | Unset = UNSET,
) -> Response[AccountingErrorResponse | AccountingRecordDetailed]:
    """Read one accounting record

     Returns the record with its line items, accounting field values and receipts.

    Args:
        record_id (str):
        single_entry (bool | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | AccountingRecordDetailed]
    """

    kwargs = get_kwargs(
        record_id=record_id,
        single_entry=single_entry,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    record_id: str,
    *,
    client: AuthenticatedClient,
    single_entry: bool | Unset = UNSET,
) -> AccountingErrorResponse | AccountingRecordDetailed | None:
    """Read one accounting record

     Returns the record with its line items, accounting field values and receipts.

    Args:
        record_id (str):
        single_entry (bool | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | AccountingRecordDetailed
    """

    return sync_detailed(
        record_id=record_id,
        client=client,
        single_entry=single_entry,
    ).parsed


async def asyncio_detailed(
    record_id: str,
    *,
    client: AuthenticatedClient,
    single_entry: bool | Unset = UNSET,
) -> Response[AccountingErrorResponse | AccountingRecordDetailed]:
    """Read one accounting record

     Returns the record with its line items, accounting field values and receipts.

    Args:
        record_id (str):
        single_entry (bool | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | AccountingRecordDetailed]
    """

    kwargs = get_kwargs(
        record_id=record_id,
        single_entry=single_entry,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    record_id: str,
    *,
    client: AuthenticatedClient,
    single_entry: bool | Unset = UNSET,
) -> AccountingErrorResponse | AccountingRecordDetailed | None:
    """Read one accounting record

     Returns the record with its line items, accounting field values and receipts.

    Args:
        record_id (str):
        single_entry (bool | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | AccountingRecordDetailed
    """

    return (
        await asyncio_detailed(
            record_id=record_id,
            client=client,
            single_entry=single_entry,
        )
    ).parsed
