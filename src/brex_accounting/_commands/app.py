"""The brex-accounting command."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING

from brex_accounting._version import __version__
from brex_accounting.errors import BrexError

from .exit_codes import Code, StopError, code_of, sentence
from .standard_streams import finish, give_up_stdout, note, prepare

if TYPE_CHECKING:
    import cyclopts

HELP = "Tools for the Brex Accounting API."
EPILOGUE = """\
The token comes from BREX_TOKEN, never from an argument; or from BREX_CLIENT_ID, BREX_CLIENT_SECRET, BREX_ACCOUNT and \
BREX_TOKEN_STORE (OAuth 2.0). --base-url, --account and --timeout may stand before the command too.

Exit codes: 0 success, 1 a problem on this machine or done in part, 2 usage, 3 refused by the API, 4 authorization, \
5 no answer or an unknown outcome, 130 interrupted."""
OF_API_COMMANDS = "The token comes from BREX_TOKEN; brex-accounting --help says more."
NONE = ""
OF_THE_SANDBOX = {"demo", "sandbox", "starlette", "uvicorn"}
"""Commands and modules of the extra `sandbox`."""


def main() -> None:
    """Run the command line."""
    sys.exit(_run(sys.argv[1:]))


def _run(tokens: Sequence[str]) -> int:
    """Run a command; a problem ends in one sentence on stderr."""
    prepare()
    problem: BaseException | None = None
    try:
        with _extra(tokens):
            code = _invoke(tokens)
    except (BrexError, OSError, StopError, KeyboardInterrupt) as error:
        problem, code = error, code_of(error)
    except SystemExit as end:  # rich ends the process when the reader of a help page goes away
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return Code.FINE
    except Exception as error:  # noqa: BLE001 - a bug of ours: no traceback, whose frames may hold a secret
        problem, code = StopError(_bug(error), Code.FAILED), Code.FAILED
    try:
        finish()
    except OSError as error:
        give_up_stdout()
        problem, code = problem or error, code or Code.FAILED
    if isinstance(problem, BrokenPipeError):  # its reader has all that it wants
        return Code.FINE
    if problem is not None:
        output = isinstance(problem, OSError) and problem.filename is None
        note(f"brex-accounting: {'the output cannot be written: ' if output else ''}{sentence(problem)}")
    return code


def _bug(error: Exception) -> str:
    """Say where, for whoever fixes it; the error's own text may hold somebody's books."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    place = f"{Path(frame.f_code.co_filename).name}, line {line}"
    return f"a bug in brex-accounting {__version__} ({type(error).__name__} in {place}): please report it."


def _invoke(tokens: Sequence[str]) -> int:
    import cyclopts  # noqa: PLC0415 - an extra

    try:
        code = _app()(
            _options_behind(tokens),
            exit_on_error=False,
            print_error=False,
            verbose=False,
            result_action="return_value",
        )
    except cyclopts.CycloptsError as error:
        command = " ".join(["brex-accounting", *(error.command_chain or ())])
        surplus = isinstance(error, cyclopts.UnusedCliTokensError) and error.unused_tokens
        said = f"There are too many arguments: {' '.join(surplus)}." if surplus else " ".join(str(error).split())
        problem = f"{said} See {command} --help."
    else:
        return int(code or 0)
    raise StopError(problem, Code.USAGE)


def _app() -> cyclopts.App:
    from cyclopts import App  # noqa: PLC0415 - an extra

    from brex_accounting._commands import (  # noqa: PLC0415
        completion,
        demo,
        export,
        integrations,
        login,
        records,
        report,
        serve,
        webhook,
        worker,
        worker_desk,
    )

    app = App(
        name="brex-accounting",
        version=__version__,
        help=HELP,
        help_epilogue=EPILOGUE,
        suppress_keyboard_interrupt=False,
    )
    of_integrations = App(
        name="integrations",
        help="Connect an accounting system to the account, pause it, resume it.",
        help_epilogue=OF_API_COMMANDS,
    )
    of_integrations.command(integrations.create)
    of_integrations.command(integrations.ensure)
    of_integrations.command(integrations.disconnect)
    of_integrations.command(integrations.reactivate)
    of_records = App(
        name="records", help="Read accounting records, and report what became of them.", help_epilogue=OF_API_COMMANDS
    )
    of_records.command(records.list_, name="list")
    of_records.command(records.get)
    of_records.command(export.export)
    of_records.command(report.report)
    of_webhooks = App(name="webhook", help="Look at what Brex sends to a webhook.", help_epilogue=NONE)
    of_webhooks.command(webhook.verify)
    of_worker = App(
        name="worker", help="Book what is ready for export, and see to what a person must decide.", help_epilogue=NONE
    )
    of_worker.command(worker.run, help_epilogue=OF_API_COMMANDS)
    for command in (worker_desk.status, worker_desk.held, worker_desk.settle, worker_desk.retry):
        of_worker.command(command)
    for group in (of_integrations, of_records, of_webhooks, of_worker):
        app.command(group)
    others = (demo.demo, login.login, login.logout, login.whoami, serve.sandbox, completion.completion)
    for each in others:
        app.command(each, help_epilogue=NONE)
    return app


def _options_behind(tokens: Sequence[str]) -> list[str]:
    """Move the connection's options from before the command to behind it, where they are understood."""
    from .connection import GLOBAL_OPTIONS  # noqa: PLC0415

    words, front = list(tokens), list[str]()
    while words and words[0].partition("=")[0] in GLOBAL_OPTIONS:
        taken = 1 if "=" in words[0] else 2
        front, words = front + words[:taken], words[taken:]
    end = words.index("--") if "--" in words else len(words)
    return words[:end] + front + words[end:]


@contextmanager
def _extra(tokens: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("brex_accounting"):
            raise
        name = str(missing.name).partition(".")[0]
        extra = "sandbox" if OF_THE_SANDBOX & {name, *tokens[:1]} else "cli"
        problem = (
            f'{name} is not installed; install what this command needs with: pip install "brex-accounting[{extra}]"'
        )
    else:
        return
    raise StopError(problem, Code.FAILED)
