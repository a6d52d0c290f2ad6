"""The SDK's main job, over real sockets against the sandbox: `make demo` runs it. It never talks to a real account."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from brex_accounting import (
    BrexAccounting,
    BrexError,
    Integration,
    IntegrationExistsError,
    IntegrationNotActiveError,
    IntegrationStatus,
    Outcome,
)

START_WITHIN = 20.0
STOP_WITHIN = 5.0
console = Console(highlight=False, soft_wrap=True)


class DemoError(Exception):
    """A step did not do what it says."""


def step(title: str, code: str) -> None:
    console.print(f"\n[bold]{escape(title)}[/bold]")
    console.print(f"  [cyan]{escape(code)}[/cyan]")


def show(text: str) -> None:
    console.print(f"  {escape(text)}")


def expect(promise: str, *, kept: bool) -> None:
    if not kept:
        raise DemoError(promise)
    console.print(f"  [green]✓[/green] {escape(promise)}")


def describe(integration: Integration) -> str:
    return f"{integration.id}  {integration.vendor}  {integration.vendor_account_id}  {integration.status}"


@contextlib.asynccontextmanager
async def sandbox_server() -> AsyncIterator[tuple[str, str]]:
    """Run `brex-accounting sandbox` as a process of its own, and give its URL and token."""
    command = str(Path(sys.executable).with_name("brex-accounting"))
    server = await asyncio.create_subprocess_exec(
        command, "sandbox", "--port", "0", "--records", "500", stdout=asyncio.subprocess.PIPE
    )
    try:
        said = ""
        async with asyncio.timeout(START_WITHIN):
            while (found := re.search(r"BREX_BASE_URL=(\S+)\s.*BREX_TOKEN=(\S+)\n", said, re.DOTALL)) is None:
                line = await server.stdout.readline() if server.stdout else b""
                if not line:
                    raise DemoError("the sandbox server starts")
                said += line.decode()
        yield found[1], found[2]
    finally:
        if server.returncode is None:
            server.terminate()
            try:
                async with asyncio.timeout(STOP_WITHIN):
                    await server.wait()
            except TimeoutError:
                server.kill()
                await server.wait()


async def integrations(brex: BrexAccounting) -> None:
    step("Connect an accounting system", 'await brex.integrations.create("ERP_A", "acct-42")')
    first = await brex.integrations.create("ERP_A", "acct-42")
    show(describe(first))
    expect("a new integration is active", kept=first.status is IntegrationStatus.ACTIVE)

    step("Connect it again", 'await brex.integrations.create("ERP_A", "acct-42")')
    again = await brex.integrations.create("ERP_A", "acct-42")
    show(describe(again))
    expect("the same integration came back, no second one was made", kept=again.id == first.id)

    step("Connect another vendor beside it", 'await brex.integrations.create("ERP_B", "acct-42")')
    exists: IntegrationExistsError | None = None
    try:
        await brex.integrations.create("ERP_B", "acct-42")
    except IntegrationExistsError as error:
        exists = error
    expect("it is refused with a typed error", kept=exists is not None)
    if exists is not None:
        show(f"IntegrationExistsError: {exists}")
        for name in ("existing_integration_id", "existing_vendor", "requested_vendor", "outcome", "trace_id"):
            show(f"  error.{name} = {getattr(exists, name)}")
        expect("it names the integration in the way", kept=exists.existing_integration_id == first.id)
        expect("it says that nothing was changed", kept=exists.outcome is Outcome.NOT_APPLIED)

    step("Pause the integration", f'await brex.integrations.disconnect("{first.id}")')
    paused = await brex.integrations.disconnect(first.id)
    show(describe(paused))
    expect("it is disabled", kept=paused.status is IntegrationStatus.DISABLED)

    step("Pause it once more", f'await brex.integrations.disconnect("{first.id}")')
    not_active: IntegrationNotActiveError | None = None
    try:
        await brex.integrations.disconnect(first.id)
    except IntegrationNotActiveError as error:
        not_active = error
    expect("that is refused", kept=not_active is not None and not_active.current_status == "DISABLED")
    show(f"IntegrationNotActiveError: {not_active}")

    step("Make sure that it is paused, whoever paused it", f'await brex.integrations.ensure_disconnected("{first.id}")')
    await brex.integrations.ensure_disconnected(first.id)
    expect("that is fine: nothing was raised", kept=True)

    step("Resume it", f'await brex.integrations.reactivate("{first.id}")')
    resumed = await brex.integrations.reactivate(first.id)
    show(describe(resumed))
    expect("the same integration is active again", kept=(resumed.id, resumed.status) == (first.id, "ACTIVE"))


async def tell() -> None:
    console.print("[bold]brex-accounting[/bold]: a tour against the sandbox, in a process of its own. No real account.")
    async with sandbox_server() as (url, token):
        console.print(f"The sandbox listens at {url}")
        async with BrexAccounting(token, base_url=url) as brex:
            await integrations(brex)
    console.print("\n[bold green]Every step did what it says.[/bold green]")


async def main() -> int:
    story = asyncio.ensure_future(tell())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, story.cancel)
    try:
        await story
    except (DemoError, BrexError, OSError, TimeoutError) as broken:
        console.print(f"  [red]✗ not so: {escape(str(broken) or type(broken).__name__)}[/red]")
        return 1
    except asyncio.CancelledError:
        console.print("\nStopped; the sandbox is stopped too.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
