"""The examples of the documentation run as tests, each alone: a reader may copy any of them."""

from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser


class IndependentEvaluator(PythonEvaluator):
    """Runs each block in a namespace of its own."""

    def __call__(self, example: Example) -> None:
        """Run one block."""
        example.document.namespace.clear()
        super().__call__(example)


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=IndependentEvaluator())],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
).pytest()
