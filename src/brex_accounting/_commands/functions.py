"""Functions that somebody names on the command line, such as erp:book."""

from __future__ import annotations

import sys
from functools import reduce
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from typing import Any

from .exit_codes import Code, stop


def load(name: str, what: str) -> Any:
    """Import MODULE:FUNCTION, from the folder where the command runs too."""
    module, _, path = name.partition(":")
    if not module or not path:
        stop(f"{what} must be MODULE:FUNCTION, such as erp:book.", Code.USAGE)
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        problem = f"there is no module {error.name}, neither here nor installed"
    except Exception as error:  # noqa: BLE001 - whatever the author's module does
        *_, (frame, line) = walk_tb(error.__traceback__)
        place = f"{Path(frame.f_code.co_filename).name}, line {line}"
        problem = f"it raised {type(error).__name__} in {place}"
    else:
        try:
            return reduce(getattr, path.split("."), loaded)
        except AttributeError:
            problem = f"{module} has no {path}"
    return stop(f"cannot import {what} {name}: {problem}.", Code.USAGE)
