"""Marks that tests share, and how much they do: more in `make soak`."""

import os

import pytest

SOAK = "SOAK" in os.environ

many = pytest.mark.uncounted
"""Does so much of one thing that other tests have counted it before. Counting coverage doubles the time of a test."""

not_src = pytest.mark.uncounted
"""Runs nothing of src/."""


def examples(thorough: int) -> int:
    """So many in a soak, a third otherwise."""
    return thorough if SOAK else thorough // 3
