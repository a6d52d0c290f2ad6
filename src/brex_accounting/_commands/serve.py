"""sandbox: serve one."""

import asyncio
import errno
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Literal

from .exit_codes import Code, stop
from .options import check_port

if TYPE_CHECKING:
    from brex_accounting.sandbox import Sandbox


def sandbox(
    *,
    port: int = 8765,
    records: int = 500,
    id_key: Literal["integration_id", "id", "both"] = "integration_id",
    rate_limit: int = 1000,
    honor_idempotency_keys: bool = True,
    recent_days: float | None = None,
) -> None:
    """Serve a sandbox of the API on 127.0.0.1 until Ctrl-C.

    Args:
        port: The port to listen on; 0 picks a free one.
        records: How many sample accounting records there are.
        id_key: How the API names an integration's id.
        rate_limit: How many requests a token has in 60 seconds; 0 is no limit.
        honor_idempotency_keys: Whether a repeated Idempotency-Key gets the first answer again.
        recent_days: Leave out of lists without a lower bound for updated_at what did not change in so many days.
    """
    from brex_accounting.sandbox import Sandbox  # noqa: PLC0415 - an extra of its own

    check_port(port)
    problem: str | None
    try:
        account = Sandbox(
            records=records,
            id_key=id_key,
            rate_limit=(rate_limit, 60.0) if rate_limit else None,
            honor_idempotency_keys=honor_idempotency_keys,
            recent_days=recent_days,
        )
    except ValueError as error:
        problem, code = f"{error}.", Code.USAGE
    else:
        problem, code = asyncio.run(_serve(account, port)), Code.FAILED
    if problem is not None:
        stop(problem, code)


async def _serve(account: "Sandbox", port: int) -> str | None:
    """Serve until a signal; return what stood in the way."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    # Not loop.add_signal_handler, which Windows lacks.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(account.serve(port=port))
        except OSError as error:
            reason = "it is in use" if error.errno == errno.EADDRINUSE else str(error)
            return f"cannot listen on port {port}: {reason}. Choose another with --port."
        print(_WELCOME.format(url=url, account=account, records=len(account.state.records)), flush=True)  # noqa: T201
        await stopped.wait()
    return None


_WELCOME = """\
A sandbox of the Brex Accounting API with {records} records, at {url}. Ctrl-C ends it.
To point BrexAccounting() at it:

export BREX_BASE_URL={url}
export BREX_TOKEN={account.token}
export BREX_WEBHOOK_SECRETS={account.webhooks.secret}

A token with no scope but accounting.record.read: {account.read_only_token}"""
