"""How a command ends: with what exit code, and what it says if it fails."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NoReturn

from brex_accounting._engine.failure import Wording, report_of
from brex_accounting._engine.refusals import Advice
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
    """No definite answer: a change may have been made or not."""
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
    """Return the exit code for what stood in the way."""
    if isinstance(problem, StopError):
        return problem.code
    if isinstance(problem, KeyboardInterrupt):
        return Code.INTERRUPTED
    if not isinstance(problem, BrexError):
        return Code.FAILED
    in_doubt = problem.outcome is Outcome.UNKNOWN and problem.operation is not None
    if in_doubt or getattr(problem, "status", None) == REQUEST_TIMEOUT:
        return Code.NO_ANSWER
    return next((code for kind, code in _CODES if isinstance(problem, kind)), Code.FAILED)


def sentence(problem: BaseException) -> str:
    """Say what stood in the way, in one line."""
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted."
    if isinstance(problem, OSError):
        name = f" {problem.filename}" if isinstance(problem.filename, str) else ""
        return f"{problem.strerror or type(problem).__name__}{f':{name}' if name else ''}."
    if not isinstance(problem, BrexError):
        return str(problem) or type(problem).__name__
    report = report_of(problem)
    text = str(problem) if report is None else report.text(problem, WORDING)
    text = text.replace("pass auth, or set BREX_TOKEN", "set BREX_TOKEN")
    return _OPTION.sub(lambda name: f"--{name[0].replace('_', '-')}", text) or type(problem).__name__


WORDING = Wording(
    advice={advice: advice.value.replace("repeat the call", "repeat the command") for advice in Advice}
    | {
        Advice.ALLOW_MORE_TIME: "repeat the command, with a longer --timeout if this goes on",
        Advice.CHECK_WHAT_IS_BETWEEN: "check --base-url and what stands between you and the API",
        Advice.REPLACE: "disconnect {existing_integration_id} first, or use integrations ensure --replace",
        Advice.ENSURE_DISCONNECTED: "use --ensure if all that matters is the final state",
        Advice.WAIT: "wait a minute, or as long as it says, then repeat the command",
        Advice.GO_ON_WITHOUT: "records export goes on without such records",
        Advice.LOOK_AT_DETAILS: "look at what it says",
        Advice.CHECK_THE_CLIENT: "check the client's id, its secret and how they are sent; the grant may still be good",
        Advice.CONSENT_AGAIN: "ask the customer to consent again, with brex-accounting login",
        Advice.CHECK_THE_ISSUER: "check --issuer",
        Advice.PROMPT_FOR_CONSENT: "log in again with --param prompt=consent, without which some servers give none, "
        "and check that the client may have one",
        Advice.FIX_THE_STORE: "fix the store, and log in again",
        Advice.BEGIN_IF_IT_FAILS: "the next command asks for an access token; log in again if that fails too",
    }
    | dict.fromkeys(
        (Advice.BEGIN_AGAIN, Advice.FINISH_AGAIN, Advice.ASK_FOR_OFFLINE_ACCESS, Advice.GIVE_THE_CALLBACK),
        "log in again",
    ),
    repeat="to find out, repeat the command with --idempotency-key {key!r}",
    earlier="An earlier attempt of this command may have been applied: look at the state before you repeat it",
    disconnected="Before that, ensure disconnected {id}: repeat the command, or reactivate {id}.",
)
"""What an error of the SDK says to whoever types a command."""
_OPTION = re.compile(
    r"(?<![-\w])(base_url|idempotency_key|page_size|updated_after|updated_before|timeout(?= must)|issuer(?= must))\b"
)
"""Parameters of the SDK that are options of the command."""
