"""The examples, loaded as modules."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from tests.support.project import ROOT

EXAMPLES = ROOT / "examples"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import an example afresh, as when it is run in its folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for each in (name, "webhook_service"):
        monkeypatch.delitem(sys.modules, each, raising=False)
    return importlib.import_module(name)
