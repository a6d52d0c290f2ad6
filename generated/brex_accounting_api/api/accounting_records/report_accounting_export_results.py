from typing import Any, cast

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.accounting_error_response import AccountingErrorResponse
from ...models.export_results_response import ExportResultsResponse
from ...models.report_export_results_request import ReportExportResultsRequest
from ...types import (
    Response,
    encode,
    read_answer,
)


def get_kwargs(
    *,
    body: ReportExportResultsRequest,
) -> dict[str, Any]:
    """What to send, as keyword arguments of `httpx.Client.request`."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v3/accounting/records/export-results",
    }

    _kwargs["content"] = encode(body)

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> AccountingErrorResponse | ExportResultsResponse | None:
    if response.status_code == 200:
        response_200 = cast(ExportResultsResponse, read_answer(ExportResultsResponse, response))
        return response_200

    if response.status_code == 404:
        response_404 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_404

    if response.status_code == 422:
        response_422 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_422

    if response.status_code == 500:
        response_500 = cast(AccountingErrorResponse, read_answer(AccountingErrorResponse, response))
        return response_500

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[AccountingErrorResponse | ExportResultsResponse]:
    return Response(
        status_code=response.status_code,
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    body: ReportExportResultsRequest,
) -> Response[AccountingErrorResponse | ExportResultsResponse]:
    """Report how the export of records went

     Takes one result, a success or a failure, for each record that is ready for export; a success marks
    the record as exported. An unknown record id rejects the whole list (404). A record that is named
    twice or is not ready for export is refused too (422).

    Args:
        body (ReportExportResultsRequest): The results of an export, each record once.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | ExportResultsResponse]
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
    body: ReportExportResultsRequest,
) -> AccountingErrorResponse | ExportResultsResponse | None:
    """Report how the export of records went

     Takes one result, a success or a failure, for each record that is ready for export; a success marks
    the record as exported. An unknown record id rejects the whole list (404). A record that is named
    twice or is not ready for export is refused too (422).

    Args:
        body (ReportExportResultsRequest): The results of an export, each record once.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | ExportResultsResponse
    """

    return sync_detailed(
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: ReportExportResultsRequest,
) -> Response[AccountingErrorResponse | ExportResultsResponse]:
    """Report how the export of records went

     Takes one result, a success or a failure, for each record that is ready for export; a success marks
    the record as exported. An unknown record id rejects the whole list (404). A record that is named
    twice or is not ready for export is refused too (422).

    Args:
        body (ReportExportResultsRequest): The results of an export, each record once.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AccountingErrorResponse | ExportResultsResponse]
    """

    kwargs = get_kwargs(
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    body: ReportExportResultsRequest,
) -> AccountingErrorResponse | ExportResultsResponse | None:
    """Report how the export of records went

     Takes one result, a success or a failure, for each record that is ready for export; a success marks
    the record as exported. An unknown record id rejects the whole list (404). A record that is named
    twice or is not ready for export is refused too (422).

    Args:
        body (ReportExportResultsRequest): The results of an export, each record once.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AccountingErrorResponse | ExportResultsResponse
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
        )
    ).parsed
