"""A page that no decoder reads as a whole is taken apart by its brackets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting._records.parsing import split_items

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["items", '"items"', "a,b", "[", "]}"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(
    items=st.lists(values, max_size=5),
    before=st.dictionaries(st.text().filter(lambda name: name != "items"), values, max_size=3),
    after=st.dictionaries(st.text().filter(lambda name: name != "items"), values, max_size=3),
    spaces=st.sampled_from([None, 1, "\t"]),
    ascii_only=st.booleans(),
)
def test_any_page(items: list[Any], before: Any, after: Any, spaces: Any, *, ascii_only: bool) -> None:
    page = {**before, "items": items} | {name: value for name, value in after.items() if name not in before}
    apart = split_items(json.dumps(page, indent=spaces, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))
    assert apart is not None
    assert [json.loads(item) for item in apart[0]] == items
    assert json.loads(apart[1]) == page | {"items": []}


@given(st.binary() | st.text(alphabet='{}[],:"\\items ').map(str.encode))
def test_any_bytes(content: bytes) -> None:
    apart = split_items(content)
    if apart is not None:
        items, rest = apart
        assert all(items)
        assert content.startswith(rest[: rest.index(b'"items"')])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b'["items", [1]]',
        b'{"items": null}',
        b'{"items": {"items": [1]}}',
        b'{"x": {"items": [1]}}',
        b'{"x": ["items", [1]]}',
        b'{"items" [1]}',
        b'{"items": [1, , 2]}',
        b'{"items": [1,]}',
        b'{"items": [{"id": "accr_1"}, {"id": "acc',
        b'{"items": [{"id": "accr_1"}, {"id": "accr_2"}',
        b'{"items": ["a]}',
    ],
)
def test_no_page(content: bytes) -> None:
    assert split_items(content) is None


@pytest.mark.parametrize(
    "item",
    [rb'"\ud83d"', rb'{"\udc00": 1}', rb'"\q"', b'"\x01\n"', b'"\xff"', b"[" * 100_000 + b"]" * 100_000, rb'"\"],[\\"'],
    ids=["cut emoji", "key", "escape", "control", "no UTF-8", "deep", "quotes"],
)
def test_what_a_decoder_gives_up_on(item: bytes) -> None:
    assert split_items(b'{"n": 1, "items": [%s ,{}, %s],"m":[]}' % (item, item)) == (
        [item, b"{}", item],
        b'{"n": 1, "items": [],"m":[]}',
    )


def test_the_first_items_count() -> None:
    assert split_items(b'{"items":[1],"items":[2]}') == ([b"1"], b'{"items":[],"items":[2]}')
