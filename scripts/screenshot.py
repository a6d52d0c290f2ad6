"""Run the tour and draw what it showed: `make screenshot` writes docs/demo.svg, which the README shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from brex_accounting._commands import tour

DRAWING = Path(__file__).parent.parent / "docs" / "demo.svg"


class FinishedProgress(Progress):
    """A drawing does not move: of a progress bar it shows the end."""

    def start(self) -> None:
        """Draw nothing yet."""

    def stop(self) -> None:
        """Draw the end."""
        self.console.print(self.get_renderable())


tour.console = Console(record=True, width=120, force_terminal=True, highlight=False)
tour.Progress = FinishedProgress
failed = tour.main()
if not failed:
    drawing = tour.console.export_svg(title="make demo")
    # It fetches nothing: whoever looks at it has a monospaced font.
    drawing = re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL).replace("Fira Code, ", "")
    DRAWING.write_text(drawing, "utf-8")
sys.exit(failed)
