import datetime
from typing import Any, cast

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.accounting_error_response import AccountingErrorResponse
from ...models.accounting_records_response import AccountingRecordsResponse
from ...models.query_accounting_records_review_status import (
    QueryAccountingRecordsReviewStatus,
)
from ...models.query_accounting_records_source_type import (
    QueryAccountingRecordsSourceType,
)
from ...types import (
    UNSET,
    Response,
    Unset,
    read_answer,
)


def get_kwargs(
    *,
    ids: list[str] | Unset = UNSET,
    review_status: QueryAccountingRecordsReviewStatus | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    single_entry: bool | Unset = UNSET,
    source_type: QueryAccountingRecordsSourceType | Unset = UNSET,
    updated_atgt: datetime.datetime | Unset = UNSET,
    updated_atgte: datetime.datetime | Unset = UNSET,
    updated_atlt: datetime.datetime | Unset = UNSET,
    updated_atlte: datetime.datetime | Unset = UNSET,
) -> dict[str, Any]:
    """What to send, as keyword arguments of `httpx.Client.request`."""

    params: dict[str, Any] = {}

    json_ids: list[str] | Unset = UNSET
    if not isinstance(ids, Unset):
        json_ids = ids

    params["ids"] = json_ids

    json_review_status: str | Unset = UNSET
    if not isinstance(review_status, Unset):
        json_review_status = review_status.value

    params["review_status"] = json_review_status

    params["limit"] = limit

    params["cursor"] = cursor

    params["single_entry"] = single_entry

    json_source_type: str | Unset = UNSET
    if not isinstance(source_type, Unset):
        json_source_type = source_type.value

    params["source_type"] = json_source_type

    json_updated_atgt: str | Unset = UNSET
    if not isinstance(updated_atgt, Unset):
        json_updated_atgt = updated_atgt.isoformat()
    params["updated_at[gt]"] = json_updated_atgt

    json_updated_atgte: str | Unset = UNSET
    if not isinstance(updated_atgte, Unset):
        json_updated_atgte = updated_atgte.isoformat()
    params["updated_at[gte]"] = json_updated_atgte

    json_updated_atlt: str | Unset = UNSET
    if not isinstance(updated_atlt, Unset):
        json_updated_atlt = updated_atlt.isoformat()
    params["updated_at[lt]"] = json_updated_atlt

    json_updated_atlte: str | Unset = UNSET
    if not isinstance(updated_atlte, Unset):
        json_updated_atlte = updated_atlte.isoformat()
    params["updated_at[lte]"] = json_updated_atlte

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v3/accounting/records",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> AccountingErrorResponse | AccountingRecordsResponse | None:
    if response.status_code == 200:
        response_200 = cast(AccountingRecordsResponse, read_answer(AccountingRecordsResponse, response))
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

    if response.status_code == 500:
        response_500 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_500

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[AccountingErrorResponse | AccountingRecordsResponse]:
    return Response(
        status_code=response.status_code,
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    ids: list[str] | Unset = UNSET,
    review_status: QueryAccountingRecordsReviewStatus | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    single_entry: bool | Unset = UNSET,
    source_type: QueryAccountingRecordsSourceType | Unset = UNSET,
    updated_atgt: datetime.datetime | Unset = UNSET,
    updated_atgte: datetime.datetime | Unset = UNSET,
    updated_atlt: datetime.datetime | Unset = UNSET,
    updated_atlte: datetime.datetime | Unset = UNSET,
) -> Response[AccountingErrorResponse | AccountingRecordsResponse]:
    """List accounting records

     Returns one page of records; pass `next_cursor` back as `cursor` for the page after it. Webhooks
    tell
    sooner than polling does which records are ready. To poll bills, use `source_type=BILL` with
    `updated_at[gt]`.

    Args:
        ids (list[str] | Unset):
        review_status (QueryAccountingRecordsReviewStatus | Unset):
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):
        single_entry (bool | Unset):
        source_type (QueryAccountingRecordsSourceType | Unset):
        updated_atgt (datetime.datetime | Unset): Updated after this time
        updated_atgte (datetime.datetime | Unset): Updated at this time or after it
        updated_atlt (datetime.datetime | Unset): Updated before this time
        updated_atlte (datetime.datetime | Unset): Updated at this time or before it

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | AccountingRecordsResponse]
    """

    kwargs = get_kwargs(
        ids=ids,
        review_status=review_status,
        limit=limit,
        cursor=cursor,
        single_entry=single_entry,
        source_type=source_type,
        updated_atgt=updated_atgt,
        updated_atgte=updated_atgte,
        updated_atlt=updated_atlt,
        updated_atlte=updated_atlte,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    ids: list[str] | Unset = UNSET,
    review_status: QueryAccountingRecordsReviewStatus | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    single_entry: bool | Unset = UNSET,
    source_type: QueryAccountingRecordsSourceType | Unset = UNSET,
    updated_atgt: datetime.datetime | Unset = UNSET,
    updated_atgte: datetime.datetime | Unset = UNSET,
    updated_atlt: datetime.datetime | Unset = UNSET,
    updated_atlte: datetime.datetime | Unset = UNSET,
) -> AccountingErrorResponse | AccountingRecordsResponse | None:
    """List accounting records

     Returns one page of records; pass `next_cursor` back as `cursor` for the page after it. Webhooks
    tell
    sooner than polling does which records are ready. To poll bills, use `source_type=BILL` with
    `updated_at[gt]`.

    Args:
        ids (list[str] | Unset):
        review_status (QueryAccountingRecordsReviewStatus | Unset):
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):
        single_entry (bool | Unset):
        source_type (QueryAccountingRecordsSourceType | Unset):
        updated_atgt (datetime.datetime | Unset): Updated after this time
        updated_atgte (datetime.datetime | Unset): Updated at this time or after it
        updated_atlt (datetime.datetime | Unset): Updated before this time
        updated_atlte (datetime.datetime | Unset): Updated at this time or before it

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | AccountingRecordsResponse
    """

    return sync_detailed(
        client=client,
        ids=ids,
        review_status=review_status,
        limit=limit,
        cursor=cursor,
        single_entry=single_entry,
        source_type=source_type,
        updated_atgt=updated_atgt,
        updated_atgte=updated_atgte,
        updated_atlt=updated_atlt,
        updated_atlte=updated_atlte,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    ids: list[str] | Unset = UNSET,
    review_status: QueryAccountingRecordsReviewStatus | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    single_entry: bool | Unset = UNSET,
    source_type: QueryAccountingRecordsSourceType | Unset = UNSET,
    updated_atgt: datetime.datetime | Unset = UNSET,
    updated_atgte: datetime.datetime | Unset = UNSET,
    updated_atlt: datetime.datetime | Unset = UNSET,
    updated_atlte: datetime.datetime | Unset = UNSET,
) -> Response[AccountingErrorResponse | AccountingRecordsResponse]:
    """List accounting records

     Returns one page of records; pass `next_cursor` back as `cursor` for the page after it. Webhooks
    tell
    sooner than polling does which records are ready. To poll bills, use `source_type=BILL` with
    `updated_at[gt]`.

    Args:
        ids (list[str] | Unset):
        review_status (QueryAccountingRecordsReviewStatus | Unset):
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):
        single_entry (bool | Unset):
        source_type (QueryAccountingRecordsSourceType | Unset):
        updated_atgt (datetime.datetime | Unset): Updated after this time
        updated_atgte (datetime.datetime | Unset): Updated at this time or after it
        updated_atlt (datetime.datetime | Unset): Updated before this time
        updated_atlte (datetime.datetime | Unset): Updated at this time or before it

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | AccountingRecordsResponse]
    """

    kwargs = get_kwargs(
        ids=ids,
        review_status=review_status,
        limit=limit,
        cursor=cursor,
        single_entry=single_entry,
        source_type=source_type,
        updated_atgt=updated_atgt,
        updated_atgte=updated_atgte,
        updated_atlt=updated_atlt,
        updated_atlte=updated_atlte,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    ids: list[str] | Unset = UNSET,
    review_status: QueryAccountingRecordsReviewStatus | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    single_entry: bool | Unset = UNSET,
    source_type: QueryAccountingRecordsSourceType | Unset = UNSET,
    updated_atgt: datetime.datetime | Unset = UNSET,
    updated_atgte: datetime.datetime | Unset = UNSET,
    updated_atlt: datetime.datetime | Unset = UNSET,
    updated_atlte: datetime.datetime | Unset = UNSET,
) -> AccountingErrorResponse | AccountingRecordsResponse | None:
    """List accounting records

     Returns one page of records; pass `next_cursor` back as `cursor` for the page after it. Webhooks
    tell
    sooner than polling does which records are ready. To poll bills, use `source_type=BILL` with
    `updated_at[gt]`.

    Args:
        ids (list[str] | Unset):
        review_status (QueryAccountingRecordsReviewStatus | Unset):
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):
        single_entry (bool | Unset):
        source_type (QueryAccountingRecordsSourceType | Unset):
        updated_atgt (datetime.datetime | Unset): Updated after this time
        updated_atgte (datetime.datetime | Unset): Updated at this time or after it
        updated_atlt (datetime.datetime | Unset): Updated before this time
        updated_atlte (datetime.datetime | Unset): Updated at this time or before it

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | AccountingRecordsResponse
    """

    return (
        await asyncio_detailed(
            client=client,
            ids=ids,
            review_status=review_status,
            limit=limit,
            cursor=cursor,
            single_entry=single_entry,
            source_type=source_type,
            updated_atgt=updated_atgt,
            updated_atgte=updated_atgte,
            updated_atlt=updated_atlt,
            updated_atlte=updated_atlte,
        )
    ).parsed
