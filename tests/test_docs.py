"""The documentation site: it builds without a warning, and every public name is on a page."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).parent.parent
MODULES = ("brex_accounting", "brex_accounting.worker", "brex_accounting.postgres", "brex_accounting.sandbox")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", ROOT / "docs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stderr, run.returncode) == ("", 0)
    return folder


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_a_page(site: Path, module: str) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    documented = {name for kind in inventory.data.values() for name in kind}
    missing = [name for name in import_module(module).__all__ if f"{module}.{name}" not in documented]
    assert missing == []


def test_no_docstring_cites_a_document_that_users_do_not_have(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text("utf-8")
    for words in ("DESIGN.md", "contract, trap", "(trap "):
        assert words not in text
