"""The examples of the documentation run as tests, each alone: a reader may copy any of them."""

from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser


class IndependentEvaluator(PythonEvaluator):
    """Runs each block in a namespace and a folder of its own, as the script that a reader makes of it."""

    def __call__(self, example: Example) -> None:
        """Run one block."""
        example.document.namespace.clear()
        example.document.namespace["__name__"] = "__main__"
        with TemporaryDirectory() as folder, chdir(folder):
            super().__call__(example)


NEEDS = {
    "django.md": ["django"],
    "flask.md": ["flask"],
    "queues.md": ["celery", "taskiq"],
    "tables.md": ["dlt", "duckdb", "pandas", "polars", "pyarrow"],
}
"""What pages need that the tests do not install: `make frameworks` does."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the pages whose frameworks are not here."""
    missing = any(find_spec(name) is None for name in NEEDS.get(collection_path.name, []))
    return True if missing else None


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=IndependentEvaluator())],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
).pytest()
