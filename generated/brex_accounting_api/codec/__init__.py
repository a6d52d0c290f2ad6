"""The one place where bytes become models and models become bytes."""

from .exact import all_finite, refuse_number
from .kinds import Anything, AwareDatetime, OneOf, OpenIntEnum, OpenStrEnum
from .model import Model, keep_source, keep_unknown, name_on_the_wire
from .reading import InvalidResponse, decode, decode_known, decoder, has_long_fraction, read_answer
from .writing import encode, to_form

__all__ = [
    "Anything",
    "AwareDatetime",
    "InvalidResponse",
    "Model",
    "OneOf",
    "OpenIntEnum",
    "OpenStrEnum",
    "all_finite",
    "decode",
    "decode_known",
    "decoder",
    "encode",
    "has_long_fraction",
    "keep_source",
    "keep_unknown",
    "name_on_the_wire",
    "read_answer",
    "refuse_number",
    "to_form",
]
