"""Writes models, and anything of models, as JSON, as plain values, and as forms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import attrs
import msgspec

from .exact import NOT_A_NUMBER, TOO_DEEP, encoder, finite
from .model import Model, fields_of, unknown_of

Mode = Literal["python", "json", "wire"]


def encode(value: Any) -> bytes:
    """Write a model, or anything of models, as the API takes it.

    A Decimal with exactly its digits; an optional property that is None is left out. Raises ValueError for what JSON
    cannot hold.
    """
    return encoder.encode(tree(value, "wire", sparse=True))


def to_form(body: Model) -> dict[str, Any]:
    """Return the fields of an urlencoded form, as httpx takes them for `data`; objects in it are JSON."""
    return {name: _form_value(value) for name, value in tree(body, "wire", sparse=True).items()}


def _form_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_form_value(item) for item in value]
    return encoder.encode(value).decode() if isinstance(value, dict) else value


def to_parts(body: Model) -> list[tuple[str, Any]]:
    """Return the parts of a multipart/form-data body, as httpx takes them for `files`."""
    parts = []
    for name, value in (_known(body, sparse=True) | unknown_of(body)).items():
        parts += [(name, _part(item)) for item in (value if isinstance(value, list) else [value])]
    return parts


def _part(value: Any) -> Any:
    if hasattr(value, "to_tuple"):  # a File
        return value.to_tuple()
    plain = tree(value, "wire", sparse=True)
    if isinstance(plain, str):
        return (None, plain.encode(), "text/plain")
    return (None, encoder.encode(plain), "application/json" if isinstance(plain, dict) else "text/plain")


def _known(model: Model, *, sparse: bool) -> dict[str, Any]:
    """The properties by their names on the wire; a sparse one leaves out what is None, unless it is required."""
    values = ((field, getattr(model, field.alias)) for field in fields_of(type(model)))
    return {
        field.name: item for field, item in values if item is not None or not sparse or field.default is attrs.NOTHING
    }


def properties_of(model: Model) -> dict[str, Any]:
    """All properties, each as it is. Raises ValueError for what JSON cannot hold."""
    known = _known(model, sparse=False)
    for value in known.values():
        if isinstance(value, Decimal):
            finite(value)
    unknown: dict[str, Any] = tree(unknown_of(model), "python", sparse=False)
    return known | {name: item for name, item in unknown.items() if name not in known}


def tree(value: Any, mode: Mode, *, sparse: bool) -> Any:
    """Write dicts, lists and plain values: with Decimals and times ("python"), as text ("json"), or for JSON ("wire").

    A sparse one leaves out optional properties that are None. Raises ValueError for what JSON cannot hold.
    """
    try:
        return _plain(value, mode, sparse=sparse)
    except RecursionError:
        pass
    raise ValueError(TOO_DEEP)


def _plain(value: Any, mode: Mode, *, sparse: bool) -> Any:
    if value is None or type(value) in {str, int, bool}:
        return value
    if isinstance(value, Model):
        known = _known(value, sparse=sparse)
        value = known | {name: item for name, item in unknown_of(value).items() if name not in known}
    if isinstance(value, Mapping):
        return {name: _plain(item, mode, sparse=sparse) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, mode, sparse=sparse) for item in value]
    if isinstance(value, Decimal):
        return str(finite(value)) if mode == "json" else finite(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(NOT_A_NUMBER)
    if mode == "python" and isinstance(value, (date, UUID)):
        return value
    return msgspec.to_builtins(value)
