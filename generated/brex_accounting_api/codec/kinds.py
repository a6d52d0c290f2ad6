"""The types of properties that neither Python nor msgspec has."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec


class _WithOffset:
    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "datetime", "tz_constraint": "aware"}


AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True), _WithOffset()]
"""A date and time with its offset: RFC 3339 asks for one, and a time without one could mean any hour of a day."""


class OpenStrEnum(StrEnum):
    """An enum that keeps the values it does not know: they equal, hash and print as their wire string."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
        from .pydantic_schema import open_enum_schema  # noqa: PLC0415 - for pydantic alone

        return open_enum_schema(cls, "str")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        from .pydantic_schema import open_enum_json_schema  # noqa: PLC0415 - for pydantic alone

        return open_enum_json_schema(cls, schema, handler)


class OpenIntEnum(IntEnum):
    """An enum that keeps the values it does not know: they equal and hash as their number."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = str(value), value
        return member

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
        from .pydantic_schema import open_enum_schema  # noqa: PLC0415 - for pydantic alone

        return open_enum_schema(cls, "int")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        from .pydantic_schema import open_enum_json_schema  # noqa: PLC0415 - for pydantic alone

        return open_enum_json_schema(cls, schema, handler)


if TYPE_CHECKING:
    from typing import Any as Anything
    from typing import Union as OneOf
else:

    class _AnyInstance(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return True

    class Anything(metaclass=_AnyInstance):
        """Any JSON."""

        @classmethod
        def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
            return {"type": "any"}

    class OneOf(metaclass=_AnyInstance):
        """A choice that msgspec cannot make: between models, or between two kinds that are both text or both lists."""

        def __class_getitem__(cls, kinds: tuple[Any, ...]) -> GenericAlias:
            return GenericAlias(cls, kinds)

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> dict[str, Any]:
            from .pydantic_schema import choice_schema  # noqa: PLC0415 - for pydantic alone

            return choice_schema(source, handler)


__all__ = ["Anything", "AwareDatetime", "OneOf", "OpenIntEnum", "OpenStrEnum"]
