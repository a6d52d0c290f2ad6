"""Looks for a secret wherever an error tracker or a log would find it."""

import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path

TESTS = str(Path(__file__).parents[1])


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised from or in the course of."""
    seen: list[BaseException] = []
    to_do = [error]
    while to_do:
        link = to_do.pop()
        if link not in seen:
            seen.append(link)
            to_do += [other for other in (link.__cause__, link.__context__) if other is not None]
            yield link


def _shown(value: object) -> str:
    try:
        return repr(value)
    except AttributeError:  # it is half made
        return "…"


def assert_holds_no(secret: str, error: BaseException) -> None:
    """Not in its texts, attributes and pickle, nor in the frames that it came through, those of the tests left out."""
    assert secret.encode() not in pickle.dumps(error)
    for link in chain(error):
        shown = [repr(link), str(link), repr(vars(link)), *traceback.format_exception(link)]
        for frame, _line in traceback.walk_tb(link.__traceback__):
            if not frame.f_code.co_filename.startswith(TESTS):
                shown += [f"{frame.f_code.co_name}: {name}={_shown(value)}" for name, value in frame.f_locals.items()]
        for text in shown:
            assert secret not in text, text.replace(secret, "<SECRET>")
