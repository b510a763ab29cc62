"""JSON that a warehouse would change while it parses it: found before it is lost.

A warehouse that keeps JSON parsed (PostgreSQL's `jsonb`, Redshift's `SUPER`) keeps the last of two
values of one key, has no negative zero, and only so many digits of a number; it cannot hold a NUL
character or half of a surrogate pair. The order of keys, blanks and the spelling of a number
(`1e2`) are no values, and may change.

A scan by Arrow's kernels clears values of one key at most; the others are parsed, which takes 4 µs
for 150 bytes of 10 keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_FLOAT_DIGITS = 15
"""A float gives back so many digits as they were written (IEEE 754 binary64) …"""
_FLOAT_EXPONENT = 300
"""… with an exponent of no more than this."""
# A number stands behind one of these: a date or a UUID within a text has `-0` and `3e5`, too.
_NUMBER = r"(?:^|[\[:,\s])"
_ODD = _NUMBER + r"(?:-0|-?[0-9.]+[eE]|-?[0-9.]{39})|\\u(0000|[dD][89a-fA-F])"
_SURROGATE = re.compile("[\ud800-\udfff]")


class _ChangedError(Exception):
    """What would become of a value, in words without it."""


def first_changed(values: pa.Array, number_digits: int) -> tuple[int, str] | None:
    """The place of the first value that parsing would change and why; None if there is none.

    Text that is no JSON is left for the warehouse to refuse.

    Args:
        values: JSON as text.
        number_digits: The most digits of a number that the warehouse keeps.
    """
    odd = pc.match_substring_regex(values, _ODD)
    looked_at = pc.or_kleene(odd, pc.greater(pc.count_substring(values, ":"), 1))
    if not pc.any(looked_at).as_py():
        return None
    numbers = pc.indices_nonzero(pc.fill_null(looked_at, False))
    texts, thoroughly = values.take(numbers), odd.take(numbers)
    odd_decoder = _odd_decoder(number_digits)
    triples = zip(numbers.to_pylist(), texts.to_pylist(), thoroughly.to_pylist(), strict=True)
    for number, text, is_odd in triples:
        try:
            if is_odd:
                _check_texts(odd_decoder.decode(text))
            else:
                _UNREPEATED.decode(text)
        except _ChangedError as error:
            return number, str(error)
        except RecursionError:
            return number, "it is nested too deeply to be looked through"
        except ValueError:
            continue
    return None


def first_long_text(values: pa.Array, limit: int) -> int | None:
    """The place of the first value with a text in it of more bytes in UTF-8; None if there is none.

    Only what is longer as a whole is looked at, and parsed only if it is as long between two
    quotation marks, or has one within a text. Keys count for nothing. Text that is no JSON is left
    for the warehouse to refuse.

    Args:
        values: JSON as text.
        limit: The most bytes of a text.
    """
    long = pc.fill_null(pc.greater(pc.binary_length(values), limit + len('""')), False)
    if not pc.any(long).as_py():
        return None
    for number in pc.indices_nonzero(long).to_pylist():
        raw = values[number].as_buffer().to_pybytes()
        if b'\\"' not in raw and max(map(len, raw.split(b'"'))) <= limit:
            continue  # written, a text has no fewer bytes
        try:
            parsed = _VALUES.decode(raw.decode())
        except (ValueError, RecursionError):
            continue
        if any(_is_longer(text, limit) for text in _texts(parsed)):
            return int(number)
    return None


def _is_longer(text: str, limit: int) -> bool:
    if len(text) > limit or len(text) * 4 <= limit:
        return len(text) > limit
    return len(text.encode(errors="surrogatepass")) > limit


def _values(pairs: list[tuple[str, Any]]) -> list[Any]:
    return [value for _, value in pairs]


_VALUES = json.JSONDecoder(object_pairs_hook=_values, parse_int=float, strict=False)


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _ChangedError("a key occurs twice in one object, and one of its values would be lost")


def _keep_all(pairs: list[tuple[str, Any]]) -> list[Any]:
    _refuse_repeated(pairs)
    return [each for pair in pairs for each in pair]


_UNREPEATED = json.JSONDecoder(object_pairs_hook=_refuse_repeated, strict=False)


def _odd_decoder(digits: int) -> json.JSONDecoder:
    def check(text: str) -> None:
        if not _is_kept(text, digits):
            raise _ChangedError("a number would be changed: -0, or one of too many digits")

    return json.JSONDecoder(
        object_pairs_hook=_keep_all, parse_int=check, parse_float=check, strict=False
    )


def _is_kept(text: str, digits: int) -> bool:
    try:
        value = Decimal(text)
    except InvalidOperation:  # an exponent of more than 18 digits
        return False
    if not value:
        return not value.is_signed()
    _, significant, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    written = max(len(significant) + max(exponent, 0), -exponent)
    as_float = len(significant) <= _FLOAT_DIGITS and abs(value.adjusted()) <= _FLOAT_EXPONENT
    return written <= digits or as_float


def _check_texts(parsed: Any) -> None:
    for text in _texts(parsed):
        if "\0" in text:
            raise _ChangedError("a text in it has a NUL character, \\u0000")
        if _SURROGATE.search(text):
            raise _ChangedError("a text in it has half of a surrogate pair, such as \\ud800")


def _texts(parsed: Any) -> Iterator[str]:
    waiting = [parsed]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, list):
            waiting.extend(each)
