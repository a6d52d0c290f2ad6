"""Copies of the project, for its scripts to run in."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

Snapshot = dict[str, tuple[int, bytes]]

ROOT = Path(__file__).parents[2]
PACKAGE = "brex_accounting_api"
# The tools are tried on copies of openapi/'s files, and of scripts/relied_on.yaml, so that an update that they accept
# fails none of their tests. Where src/ comes to rely on something else, copy the three anew.
FROZEN = ROOT / "tests" / "data" / "openapi"
DESCRIPTION_FILE = FROZEN / "accounting.yaml"
OVERLAY_FILE = FROZEN / "overlay.yaml"
TABLE_FILE = FROZEN / "relied_on.yaml"


@dataclass(frozen=True)
class Project:
    root: Path

    @property
    def generated(self) -> Path:
        return self.root / "generated"

    @property
    def environment(self) -> Path:
        return self.root / ".venv-generator"

    def run(
        self,
        *arguments: str | Path,
        script: str = "regen.sh",
        prefix: tuple[str, ...] = (),
        cwd: Path | None = None,
        umask: int = -1,
        **env: str | Path,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, self.root / "scripts" / script, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=cwd or self.root,
            umask=umask,
            env=os.environ | env,
        )

    def start(self, **env: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.root / "scripts" / "regen.sh"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | env,
        )

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new), "utf-8")


def snapshot(folder: Path) -> Snapshot:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def generate_once(folders: pytest.TempPathFactory, description: Path, overlay: Path, package: str = PACKAGE) -> Path:
    """Generate a package, once for all workers of this run; nobody may change it."""
    base = folders.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    digest = hashlib.sha256(description.read_bytes() + b"\0" + overlay.read_bytes()).hexdigest()[:16]
    output = base / f"generated-{digest}" / package
    with (base / "generated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            check_success(Project(ROOT).run(description, REGEN_OVERLAY=overlay, REGEN_OUTPUT=output))
    return output


Clone = Callable[[Path], Project]


def check_success(run: subprocess.CompletedProcess[str]) -> None:
    assert (run.returncode, run.stderr) == (0, "")


def command(path: Path, *lines: str) -> Path:
    """Make a command, to stand in for one that the script calls."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]), "utf-8")
    path.chmod(0o755)
    return path


def generate_by_copying(project: Project, package: Path) -> None:
    """Let regen.sh, which has tests of its own, only copy a package."""
    lines = ('mkdir -p "${REGEN_OUTPUT%/*}"', f'cp -R "{package}" "$REGEN_OUTPUT"')
    command(project.root / "scripts" / "regen.sh", *lines)
