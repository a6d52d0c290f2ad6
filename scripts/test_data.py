"""Renew what the tests of these scripts work on: `make test-data`, when src/ relies on something new.

tests/data/contract.yaml lists what openapi/accounting.yaml states. tests/data/openapi/ has copies of the scripts'
input, so that a change at Brex's fails none of their tests; the facade must fit the copies.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.contract import write_contract
from scripts.read_description import RefusedError, in_one_line, read

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
COPIED = ("openapi/accounting.yaml", "openapi/overlay.yaml", "scripts/relied_on.yaml")


def contents() -> dict[Path, bytes]:
    """Return the content of each file, as it should be."""
    copies = {DATA / "openapi" / Path(name).name: (ROOT / name).read_bytes() for name in COPIED}
    description = read(ROOT / "openapi" / "accounting.yaml")
    return {DATA / "contract.yaml": write_contract(description).encode(), **copies}


def main() -> None:
    """Write the files that differ, and name them."""
    try:
        stale = {path: content for path, content in contents().items() if path.read_bytes() != content}
    except (OSError, RefusedError) as error:
        sys.exit(f"test-data: {in_one_line(error)}")
    for path, content in stale.items():
        path.write_bytes(content)
    print(
        f"test-data: wrote {', '.join(str(path.relative_to(ROOT)) for path in stale) or 'nothing: all is up to date'}"
    )


if __name__ == "__main__":
    main()
