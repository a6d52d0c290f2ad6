"""Marks that tests share. What is counted for the coverage takes twice the time, so some of it is not (conftest.py)."""

import pytest

many = pytest.mark.uncounted
"""Does so much of one thing that it has been counted before."""

not_src = pytest.mark.uncounted
"""Runs nothing of src/."""
