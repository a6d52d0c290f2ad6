"""The matrix: the wheel on every Python that is here, with the newest and the lowest dependencies (`make matrix`)."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
EXTRAS = ["aiohttp", "cli", "fleet", "postgres", "sandbox"]
# The scripts around the generator and the site are used on one Python; `make test` covers them.
OF_THE_CHECKOUT = [
    "tests/sandbox/test_schemathesis.py",
    "tests/test_description*.py",
    "tests/test_docs.py",
    "tests/test_fit.py",
    "tests/test_regen.py",
    "tests/test_set_up.py",
    "tests/test_update_description.py",
]


def test(session: nox.Session, resolution: str) -> None:
    """Install the wheel and what the tests import, and run the tests on it: the checkout's src is not on the path."""
    folder = Path(session.create_tmp())
    for old in folder.glob("*.whl"):
        old.unlink()
    session.run_install("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), external=True)
    [wheel] = folder.glob("*.whl")
    constraints = folder / "constraints.txt"
    extras = [option for extra in EXTRAS for option in ("--extra", extra)]
    session.run_install(
        *("uv", "pip", "compile", "--quiet", "pyproject.toml", *extras, "--resolution", resolution, "--upgrade"),
        *("--python", f"{session.bin}/python", "--output-file", str(constraints)),
        external=True,
    )
    tools = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "demo", "test")
    session.install(f"brex-accounting[{','.join(EXTRAS)}] @ {wheel.resolve().as_uri()}", *tools, "-c", str(constraints))
    ignored = [f"--ignore-glob={pattern}" for pattern in OF_THE_CHECKOUT]
    session.run("pytest", "--no-cov", "-q", *ignored, *session.posargs)


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Run the tests with the newest release of every dependency."""
    test(session, "highest")


@nox.session(python=PYTHONS)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest release of every dependency that pyproject.toml allows."""
    test(session, "lowest-direct")
