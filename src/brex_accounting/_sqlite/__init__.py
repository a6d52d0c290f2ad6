"""SQLite files of ours."""

from .connection import Connection
from .files import BUSY, DAMAGED, Layout, check_companions, code_of, describe, open_file

__all__ = ["BUSY", "DAMAGED", "Connection", "Layout", "check_companions", "code_of", "describe", "open_file"]
