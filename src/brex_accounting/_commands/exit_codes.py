"""How a command ends: with what exit code, and what it says where it cannot do what it should."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NoReturn

from brex_accounting.errors import (
    APIError,
    BrexError,
    CallTimeoutError,
    ConfigurationError,
    ConnectionFailedError,
    ForbiddenError,
    InvalidResponseError,
    Outcome,
    ServerError,
    TokenRefreshError,
    UnauthorizedError,
)

REQUEST_TIMEOUT = 408


class Code(IntEnum):
    """The exit codes; docs/cli.md says the same to people."""

    FINE = 0
    FAILED = 1
    """Something of this machine, such as a file; or the command was done in part."""
    USAGE = 2
    REFUSED = 3
    AUTHORIZATION = 4
    NO_ANSWER = 5
    """There was no answer that tells, or a change may have been made or not."""
    INTERRUPTED = 130


class StopError(Exception):
    """A command ends here."""

    def __init__(self, text: str, code: Code) -> None:
        super().__init__(text)
        self.code = code


def stop(text: str, code: Code = Code.FAILED) -> NoReturn:
    """End the command with a sentence that says what happened and what to do."""
    raise StopError(text, code)


_CODES: tuple[tuple[type[BrexError], Code], ...] = (
    (ConfigurationError, Code.USAGE),
    (UnauthorizedError, Code.AUTHORIZATION),
    (ForbiddenError, Code.AUTHORIZATION),
    (TokenRefreshError, Code.AUTHORIZATION),
    (ConnectionFailedError, Code.NO_ANSWER),
    (CallTimeoutError, Code.NO_ANSWER),
    (InvalidResponseError, Code.NO_ANSWER),
    (ServerError, Code.NO_ANSWER),
    (APIError, Code.REFUSED),
)


def code_of(problem: BaseException) -> Code:
    """Tell the exit code for what stood in the way."""
    if isinstance(problem, StopError):
        return problem.code
    if isinstance(problem, KeyboardInterrupt):
        return Code.INTERRUPTED
    if not isinstance(problem, BrexError):
        return Code.FAILED
    if problem.outcome is Outcome.UNKNOWN or getattr(problem, "status", None) == REQUEST_TIMEOUT:
        return Code.NO_ANSWER
    return next((code for kind, code in _CODES if isinstance(problem, kind)), Code.FAILED)


def sentence(problem: BaseException) -> str:
    """Say what stood in the way, in one line."""
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted."
    if isinstance(problem, OSError):
        name = f" {problem.filename}" if isinstance(problem.filename, str) else ""
        return f"{problem.strerror or type(problem).__name__}{f':{name}' if name else ''}."
    text = str(problem) or type(problem).__name__
    if isinstance(problem, BrexError):
        for theirs, ours in WORDING.items():
            text = re.sub(theirs, ours, text)
    return text


WORDING = {
    r"idempotency_key=(?=['\"])": "--idempotency-key ",
    r"use ensure\(\.\.\., replace=True\)": "use integrations ensure --replace",
    r"call ensure again": "repeat the command",
    r"use ensure_disconnected where all that matters is the end": "use --ensure where all that matters is the end",
    r"pass on_invalid to iterate or pages to go on without such records": "records export goes on without such records",
    r"pass auth, or set BREX_TOKEN": "set BREX_TOKEN",
    r"repeat the call": "repeat the command",
    r"An earlier attempt of this call": "An earlier attempt of this command",
    r"as long as retry_after says": "as long as it says",
    r"look at status, error_code and details": "look at what it says",
    r"^timeout must": "--timeout must",
    r"\bbase_url\b": "--base-url",
    r"\bidempotency_key\b": "--idempotency-key",
    r"\bpage_size\b": "--page-size",
    r"\bupdated_after\b": "--updated-after",
    r"with a longer timeout": "with a longer --timeout",
}
"""What the SDK tells a programmer, by what is to be typed instead."""
