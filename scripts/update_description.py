"""Take in a new revision of Brex's description; update_description.sh runs it and documents it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import yaml

from scripts import download
from scripts.additions import newly_required, with_not_covered, with_not_required
from scripts.contract import write_contract
from scripts.correct_description import check_description
from scripts.description_changes import changes_between
from scripts.facade import Facade
from scripts.fit import TABLE, WHAT_TO_DO, Fit
from scripts.overlay import check_overlay, correct
from scripts.read_description import RefusedError, in_one_line, parse
from scripts.report import show, show_changes, show_end

PROGRAM = "update-description"
ROOT = Path(__file__).parent.parent
DESCRIPTION = ROOT / "openapi" / "accounting.yaml"
OVERLAY = ROOT / "openapi" / "overlay.yaml"
PACKAGE = ROOT / "generated" / "brex_accounting_api"
CONTRACT = ROOT / "tests" / "data" / "contract.yaml"
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Document = dict[str, Any]


def earlier(new: Document, content: bytes) -> tuple[Document | None, str]:
    """Find what to compare with, and its name: the present file, or git's if the present file is the new one."""
    if DESCRIPTION.is_file() and DESCRIPTION.read_bytes() != content:
        with suppress(RefusedError):
            return read_description(DESCRIPTION.read_bytes(), ""), "openapi/accounting.yaml"
    elif CONTRACT.is_file() and CONTRACT.read_text("utf-8") == write_contract(new):
        return new, "openapi/accounting.yaml"
    shown = subprocess.run(
        ["git", "show", "HEAD:./openapi/accounting.yaml"],  # noqa: S607
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    with suppress(RefusedError):
        return read_description(shown.stdout, ""), "the last commit"
    return None, "the last commit"


def generate(description: Path, overlay: Path, name: str, output: Path) -> None:
    """Generate a package with regen.sh, under our lock."""
    environment = os.environ | {"REGEN_OUTPUT": str(output), "REGEN_OVERLAY": str(overlay)}
    command = [str(ROOT / "scripts" / "regen.sh"), str(description)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, pass_fds=[9]) as run:  # noqa: S603
        try:
            _, complaint = run.communicate()
        except BaseException:
            run.terminate()
            run.wait()
            raise
    if run.returncode:
        words = complaint.strip().removeprefix("regen: ").replace(str(output), "generated/")
        words = words.replace(str(overlay), "openapi/overlay.yaml")
        raise RefusedError(words.replace(str(description), name) or f"regen.sh ended with {run.returncode}.")


def put_in_place(files: dict[Path, bytes], package: Path, work: Path) -> list[str]:
    """Replace the files and the package, all or none, and return the files that changed."""
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    previous = work / "previous"
    try:
        if PACKAGE.exists():
            PACKAGE.rename(previous)
        package.rename(PACKAGE)
        for path, content in files.items():
            write(path, content, work)
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write(path, content, work)
        if previous.exists():
            shutil.rmtree(PACKAGE, ignore_errors=True)
            previous.rename(PACKAGE)
        raise
    return [str(path.relative_to(ROOT)) for path, content in files.items() if before[path] != content]


def write(path: Path, content: bytes, work: Path) -> None:
    """Replace a file atomically."""
    if path.exists() and path.read_bytes() == content:
        return
    new = work / "new"
    new.write_bytes(content)
    if path.exists():
        shutil.copymode(path, new)
    new.replace(path)


def load(files: list[str], caller: Path) -> tuple[str, bytes]:
    """Read the file, or fetch the description if none is named; return its name and its content."""
    if len(files) > 1:
        raise RefusedError(f"it takes one FILE, not {len(files)}.")
    for file in files:
        try:
            return file, (caller / Path(file).expanduser()).read_bytes()
        except OSError as error:
            reason = error.strerror or in_one_line(error)
        raise RefusedError(f"{file} cannot be read ({reason}): name the file that you downloaded.")
    url = os.environ.get("BREX_DESCRIPTION_URL") or download.URL
    return url, download.download(url)


def update(files: list[str], caller: Path, work: Path, *, keep: bool) -> None:
    """Take in a description. Raises RefusedError, with everything as it was."""
    name, content = load(files, caller)
    document = read_description(content, name)
    description = work / "description"
    description.write_bytes(content)

    table = (ROOT / TABLE).read_text("utf-8")
    tolerated = newly_required(yaml.safe_load(table), correct(document, read_overlay(OVERLAY.read_bytes())).document)
    overlay = work / "overlay.yaml"
    overlay.write_text(with_not_required(OVERLAY.read_text("utf-8"), tolerated), "utf-8")
    corrections = read_overlay(overlay.read_bytes())
    corrected = correct(document, corrections)

    old, since = earlier(document, content)
    unchecked = 0
    if old is None:
        print("There is no earlier description to compare with.", end="\n\n")
    else:
        changes = changes_between(old, document)
        effective = changes_between(correct(old, corrections).document, corrected.document)
        places = {change.place for change in effective.reported}
        unchecked = show_changes(changes, [change for change in changes.reported if change.place not in places], since)
    show("These overlay actions are no longer needed, because Brex publishes it so now; drop them:", corrected.needless)
    show("These overlay actions match nothing any more; fix or drop them in openapi/overlay.yaml:", corrected.dead)

    package = work / PACKAGE.name
    if not corrected.dead:
        generate(description, overlay, name, package)
    facade = Facade(ROOT / "src" / "brex_accounting")
    fit = Fit(facade, yaml.safe_load(table), corrected.document, PACKAGE if corrected.dead else package, PACKAGE)
    misfits = fit.misfits()
    check_fit(misfits, corrected.dead, keep=keep)

    show(f"No method of the facade calls these new operations; {TABLE} lists them as not covered now:", fit.not_listed)
    show(
        "Brex requires these in answers, and nothing here needs them; openapi/overlay.yaml lets them be missing now:",
        map(".".join, tolerated),
    )
    new = {DESCRIPTION: content, ROOT / TABLE: with_not_covered(table, fit.not_covered).encode()}
    if tolerated:
        new[OVERLAY] = overlay.read_bytes()
    if CONTRACT.parent.is_dir():
        new[CONTRACT] = write_contract(document).encode()
    replaced = put_in_place(new, package, work)
    print(f"Made generated/ from {name}{'; replaced ' if replaced else ''}{', '.join(replaced)}.")
    if misfits:
        raise RefusedError(f"the new files are in place, and the facade does not fit them yet: {WHAT_TO_DO}")
    show_end(unchecked)


def check_fit(misfits: list[str], dead: list[str], *, keep: bool) -> None:
    """Print where the facade does not fit. Raises RefusedError for that, and for an overlay that cannot be applied."""
    show("The facade does not fit:", misfits)
    if dead:
        raise RefusedError(
            f"overlay actions match nothing any more ({len(dead)}, named above), and nothing was changed: "
            "fix or drop them in openapi/overlay.yaml, and run this again."
        )
    if misfits and not keep:
        raise RefusedError(
            f"the facade does not fit in the places named above ({len(misfits)}), and nothing was changed: "
            "KEEP=1 puts the new files in place anyway, to work on it."
        )


def read_overlay(content: bytes) -> Document:
    """Read and check the overlay."""
    overlay = parse(content, "openapi/overlay.yaml")
    check_overlay(overlay, "openapi/overlay.yaml")
    return overlay


def read_description(content: bytes, name: str) -> Document:
    """Read and check a description; the name is for the message."""
    document = parse(content, name)
    try:
        check_description(document, name)
    except RefusedError:
        raise
    except Exception as error:  # noqa: BLE001 - such as the validator's RecursionError
        raise RefusedError(f"{name} cannot be used: {in_one_line(error)}") from None
    return document


def interrupt(_number: int, _frame: object) -> NoReturn:
    """End as on Ctrl-C."""
    raise KeyboardInterrupt


def main(caller: str, *arguments: str) -> None:
    """Parse the arguments, and report an error in one sentence on stderr."""
    keep = "--keep" in arguments
    files = [argument for argument in arguments if argument != "--keep"]
    for number in INTERRUPTIONS:
        signal.signal(number, interrupt)
    try:
        PACKAGE.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".update.", dir=PACKAGE.parent) as work:
            update(files, Path(caller), Path(work), keep=keep)
    except KeyboardInterrupt:
        reason, code = "interrupted; everything is as it was.", 130
    except RefusedError as refusal:
        reason, code = in_one_line(refusal), 1
    except Exception as error:  # noqa: BLE001 - a maintainer must read a sentence, not a traceback
        reason, code = f"it failed, and everything is as it was: {type(error).__name__}: {in_one_line(error)}", 1
    else:
        return
    sys.stdout.flush()
    print(f"{PROGRAM}: {reason}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
