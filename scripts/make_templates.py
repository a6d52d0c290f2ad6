"""Make the templates that the generator runs on: ours, and its stock ones with some of their words exchanged.

Run by regen.sh in the generator's environment: python -m scripts.make_templates OUTPUT
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

from scripts.read_description import RefusedError, in_one_line, read

TEMPLATES = Path("openapi/templates")
EXCHANGES = TEMPLATES / "exchanges.yaml"
# Found and not imported, which takes its time.
GENERATOR = importlib.util.find_spec("openapi_python_client")
STOCK = Path(GENERATOR.origin if GENERATOR and GENERATOR.origin else "").parent / "templates"


def exchange(text: str, name: str, exchanges: list[dict[str, Any]]) -> str:
    """Exchange words in the text of a stock template. Refuse where the text has not exactly those any more."""
    for each in exchanges:
        words, times = each["words"], each.get("times", 1)
        found = text.count(words)
        if found != times:
            raise RefusedError(
                f"the generator's stock template {name} holds {words!r} {found} times, not {times}: see what it says "
                f"now, and change or drop that exchange in {EXCHANGES} (its reason: {each['reason']})"
            )
        text = text.replace(words, each["become"])
    return text


def main(output: str) -> None:
    """Write the templates into a folder."""
    folder = Path(output)
    folder.mkdir()
    for own in TEMPLATES.glob("*.jinja"):
        shutil.copy(own, folder)
    for name, exchanges in read(EXCHANGES).items():
        stock = STOCK / name
        if not stock.is_file():
            raise RefusedError(f"the generator has no stock template {name} any more; {EXCHANGES} changes it")
        (folder / name).write_text(exchange(stock.read_text("utf-8"), name, exchanges), "utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RefusedError as refusal:
        sys.exit(f"regen: {refusal}")
    except Exception as error:  # noqa: BLE001 - a maintainer is to read a sentence
        sys.exit(f"regen: {EXCHANGES} cannot be used: {in_one_line(error)}")
