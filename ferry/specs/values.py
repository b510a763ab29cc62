"""What single values of a table's or a summary's spec have to be."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from ferry.errors import RequestError
from ferry.schema import OWN_SCHEMA
from ferry.specs.source_names import parse_source_name
from ferry.windows import zone_info

MOST_RANGES = 16
"""No table is read by more connections at once."""

MOST_SETTLE_SECONDS = 86_400
"""No window waits longer for what commits late."""

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_$]*")


def _identifier(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(
            "a name in the warehouse is lower-case letters, digits, _ and $, and does not begin "
            "with a digit"
        )
    return name


def _zone(name: str) -> str:
    try:
        zone_info(name)
    except RequestError as error:
        raise ValueError(error.message) from error
    return name


def _source_name(name: str) -> str:
    parse_source_name(name)
    return name


def _marking(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(
            "YAML reads yes, no, on, off, true and false without quotes as a boolean: write text "
            "in quotes, and a boolean's or a number's values as 1 and 0"
        )
    return value


def no_boolean(value: Any) -> Any:
    """The value of a field of numbers; `no` is 0 there, as it says.

    Raises:
        ValueError: It is `yes`, which would be 1, of whatever the field counts.
    """
    if value is True:
        raise ValueError("YAML reads yes, on and true as a boolean: write a number")
    return value


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({name.lower() for name in names}) < len(names):
        raise ValueError("a column stands there twice: name each once")
    return names


def _null_is_a_word(value: Any) -> Any:
    return "null" if value is None else value  # YAML's null, as everybody writes it


def _read_ranges(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_RANGES):
        return value
    raise ValueError(f"expected a whole number from 1 to {MOST_RANGES}, or auto")


Identifier = Annotated[str, AfterValidator(_identifier)]


def _not_ours(value: str) -> str:
    if value == OWN_SCHEMA:
        raise ValueError(f"the schema {value} is for Ferry's own tables, such as its receipts")
    return value


TargetSchema = Annotated[Identifier, AfterValidator(_not_ours)]
SourceName = Annotated[str, AfterValidator(_source_name)]
Zone = Annotated[str, AfterValidator(_zone)]
ColumnsOnce = Annotated[tuple[str, ...], AfterValidator(_each_once)]
Marking = Annotated[str | int, BeforeValidator(_marking)]
ZeroDates = Annotated[Literal["error", "null"], BeforeValidator(_null_is_a_word)]
Retries = Annotated[int, Field(ge=0, description="Retries of a step, for retriable errors.")]
RetryDelaySeconds = Annotated[
    int, Field(ge=0, description="Wait before a retry, plus up to half of it at random.")
]
DEFAULT_RETRIES, DEFAULT_RETRY_DELAY_SECONDS = 1, 180
ReadRanges = Annotated[
    int | Literal["auto"],
    PlainValidator(_read_ranges),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_RANGES}, {"const": "auto"}]}
    ),
]
