"""Marks that tests share. Counting coverage doubles the time of a test, so conftest.py leaves some uncounted."""

import pytest

many = pytest.mark.uncounted
"""Does so much of one thing that other tests have counted it before."""

not_src = pytest.mark.uncounted
"""Runs nothing of src/."""
