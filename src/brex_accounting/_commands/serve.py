"""The command `sandbox`."""

import asyncio
import errno
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from brex_accounting._http.addresses import is_loopback

from .exit_codes import Code, stop
from .options import check_port
from .standard_streams import note

if TYPE_CHECKING:
    from brex_accounting.sandbox import Sandbox


def _from(name: str) -> Parameter:
    return Parameter(env_var=f"BREX_SANDBOX_{name}", show_default=None)


def _text(name: str) -> Parameter:
    return Parameter(env_var=f"BREX_SANDBOX_{name}", show_default=False)


def _several(name: str) -> Parameter:
    return Parameter(env_var=f"BREX_SANDBOX_{name}", negative="", show_default=False, consume_multiple=False)


def sandbox(
    *,
    host: Annotated[str, _from("HOST")] = "127.0.0.1",
    port: Annotated[int, _from("PORT")] = 8765,
    records: Annotated[int, _from("RECORDS")] = 500,
    token: Annotated[str | None, _text("TOKEN")] = None,
    customer: Annotated[tuple[str, ...], _several("CUSTOMERS")] = (),
    client_id: Annotated[str | None, _text("CLIENT_ID")] = None,
    client_secret: Annotated[str | None, _text("CLIENT_SECRET")] = None,
    refresh_token: Annotated[str | None, _text("REFRESH_TOKEN")] = None,
    redirect_uri: Annotated[tuple[str, ...], _several("REDIRECT_URIS")] = (),
    webhook_secret: Annotated[str | None, _text("WEBHOOK_SECRET")] = None,
    id_key: Annotated[Literal["integration_id", "id", "both"], _from("ID_KEY")] = "integration_id",
    rate_limit: Annotated[int, _from("RATE_LIMIT")] = 1000,
    retry_after: Annotated[bool, _from("RETRY_AFTER")] = True,
    honor_idempotency_keys: Annotated[bool, _from("HONOR_IDEMPOTENCY_KEYS")] = True,
    recent_days: Annotated[float | None, _text("RECENT_DAYS")] = None,
) -> None:
    """Serve a sandbox of the API until Ctrl-C, on this machine only.

    Tokens and credentials that are not given are random; all are printed at the start.

    Args:
        host: The address to listen on; any other than 127.0.0.1 opens the sandbox to the network.
        port: The port to listen on; 0 picks a free one.
        records: How many sample records each customer has.
        token: The access token, such as bxt_local.
        customer: A further customer, with tokens and books of its own: NAME=TOKEN, or NAME; may be given several times.
        client_id: The OAuth 2.0 client.
        client_secret: Its secret.
        refresh_token: A refresh token of the client for the first customer; its first use replaces it.
        redirect_uri: Where consent may lead, besides http on 127.0.0.1 and [::1]; may be given several times.
        webhook_secret: The secret that signs webhooks, such as whsec_c2VjcmV0.
        id_key: How the API names an integration's id.
        rate_limit: How many requests a token has in 60 seconds; 0 means no limit.
        retry_after: Whether a 429 carries Retry-After.
        honor_idempotency_keys: Whether a repeated Idempotency-Key gets the first answer again.
        recent_days: Lists without a lower bound for updated_at show only what changed in the last days, this many.
    """
    from brex_accounting.sandbox import AuthorizationOptions, Sandbox, WebhookOptions  # noqa: PLC0415 - an extra

    check_port(port)
    problem: str | None
    try:
        served = Sandbox(
            records=records,
            token=token,
            id_key=id_key,
            rate_limit=(rate_limit, 60.0) if rate_limit else None,
            send_retry_after=retry_after,
            honor_idempotency_keys=honor_idempotency_keys,
            recent_days=recent_days,
            authorization=AuthorizationOptions(
                client_id=client_id, client_secret=client_secret, redirect_uris=redirect_uri
            ),
            webhooks=WebhookOptions(secret=webhook_secret),
        )
        for each in customer:
            name, _, chosen = each.partition("=")
            served.add_account(name, records=records, token=chosen or None)
        refresh_token = served.authorization.new_grant(refresh_token=refresh_token)
    except ValueError as error:
        problem, code = f"{error}.", Code.USAGE
    else:
        problem, code = asyncio.run(_serve(served, host, port, refresh_token)), Code.FAILED
    if problem is not None:
        stop(problem, code)


async def _serve(served: "Sandbox", host: str, port: int, refresh_token: str) -> str | None:
    """Serve until a signal; return the problem, if any."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    # Not loop.add_signal_handler, which Windows lacks.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(served.serve(host=host, port=port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"cannot listen on port {port}: it is in use. Choose another with --port."
            return f"cannot listen on {host}, port {port}: {error.strerror or error}. Choose another --host or --port."
        if not is_loopback(host):
            note(
                f"brex-accounting: warning: everyone who can reach {host} can use this sandbox. "
                "Keep real data out of it. The SDK speaks http to this machine only."
            )
        print(_welcome(served, url, refresh_token), flush=True)  # noqa: T201
        await stopped.wait()
    return None


def _welcome(served: "Sandbox", url: str, refresh_token: str) -> str:
    server = served.authorization
    first, *others = served.accounts.values()
    return "\n".join(
        [
            f"A sandbox of the Brex Accounting API with {len(served.state.records)} records, at {url}. Ctrl-C ends it.",
            "To point BrexAccounting() at it:",
            "",
            f"export BREX_BASE_URL={url}",
            f"export BREX_WEBHOOK_SECRETS={served.webhooks.secret}",
            f"export BREX_TOKEN={served.token}",
            "",
            "Or, for OAuth 2.0, in place of BREX_TOKEN:",
            "",
            f"export BREX_TOKEN_URL={served.token_url.replace(served.url, url)}",
            f"export BREX_CLIENT_ID={server.client_id}",
            f"export BREX_CLIENT_SECRET={server.client_secret}",
            f"export BREX_ACCOUNT={first.name}",
            f"export BREX_REFRESH_TOKEN={refresh_token}",
            "export BREX_TOKEN_STORE=sandbox-tokens.db",
            "",
            *(f"The token of {each.name}: {each.token}" for each in others),
            f"A token with no scope but accounting.record.read: {served.read_only_token}",
        ]
    )
