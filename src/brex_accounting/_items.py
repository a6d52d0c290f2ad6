"""Sets the items of a page apart where the page cannot be read as a whole: one of them must not lose the others.

A decoder gives up on all of a text at half a surrogate pair (a memo cut in the middle of an emoji), at an escape that
is none, at a control character, at a thousand nested lists. This looks at nothing but quotes, brackets and commas.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},:"]', re.DOTALL)


def set_items_apart(page: bytes) -> tuple[list[bytes], bytes] | None:
    """Return the items, and the page without them; None where it has no `items` that begin and end."""
    items: list[bytes] = []
    depth = began = start = 0
    before = last = b""
    for token in _TOKEN.finditer(page):
        sign = token[0]
        if sign in b"[{":
            depth += 1
            if not began and (depth, before, last, sign) == (2, b'"items"', b":", b"["):
                began = start = token.end()
        elif sign in b"]}":
            depth -= 1
        elif sign == b'"':  # which nothing ends
            return None
        ends = began and depth == 1
        if ends or (began and depth == 2 and sign == b","):  # noqa: PLR2004 - the depth of the items
            items.append(page[start : token.start()].strip())
            start = token.end()
        if ends:
            found = [] if items == [b""] else items
            return (found, page[:began] + page[token.start() :]) if all(found) else None
        before, last = last, sign
    return None
