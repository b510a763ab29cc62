"""JSON that a parsing warehouse would change is found; what it only spells otherwise passes."""

from __future__ import annotations

import pyarrow as pa
import pytest

from blocks.stages.parts.json_values import first_changed, first_long_text

WIDE = 16_383


def changed(*texts: str | None, digits: int = 38) -> tuple[int, str] | None:
    return first_changed(pa.array(texts, pa.large_string()), digits)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"k": 1, "k": 2}', "key occurs twice"),
        ('{"k": 1, "k": 1}', "key occurs twice"),
        ('[1, {"a": {"b": [], "c": 0, "b": {}}}]', "key occurs twice"),
        ('{"\\u0061": 1, "a": 2}', "key occurs twice"),
        ('{"": 1, "": 2}', "key occurs twice"),
        ("-0", "number"),
        ("[1, -0.00]", "number"),
        ('{"a": -0e5}', "number"),
        ("1e99999999999999999999", "number"),
        ('"\\u0000"', "NUL"),
        ('["a", {"b": ["\\u0000"]}]', "NUL"),
        ('{"\\u0000": 1}', "NUL"),
        ('{"a": "\t", "a": 2}', "key occurs twice"),
        ('{"day": "2023-01-05", "n": -0}', "number"),
        ('"\\ud800"', "half of a surrogate pair"),
        ('{"a": "x\\uDC00y"}', "half of a surrogate pair"),
        ('{"a": ' * 2000 + "1" + "}" * 2000, "nested too deeply"),
    ],
)
def test_what_would_be_lost_is_found(text: str, why: str):
    for digits in (38, WIDE):
        number, found = changed("{}", None, text, text, digits=digits) or (None, "")
        assert number == 2
        assert why in found


@pytest.mark.parametrize(
    "text",
    [
        *("null", "true", "[]", "{}", '""', "0", "0.0", "-1", "1e2", "1.10", "1e300", "1.5E-300"),
        '{"a": 1, "A": 2, "b": {"a": 1}, "c": [{"a": 1}, {"a": 2}]}',
        '{"a": "-0", "b-0": "\\\\u0000", "c": "\\ud83d\\ude00", "d": ":::::"}',
        "12345678901234567890123456789012345678",
        "-0.12345678901234567890123456789",
        '{"no": json, "no": }',  # for the warehouse to refuse
    ],
)
def test_what_keeps_its_value_passes(text: str):
    assert changed(text) is None
    assert changed(text, digits=WIDE) is None


@pytest.mark.parametrize(
    "text", ["1" * 39, "0." + "1" * 39, "1e400", "1e-400", "1.23456789012345678e40"]
)
def test_a_number_of_more_digits_than_the_warehouse_keeps_is_found(text: str):
    assert changed(f'{{"n": [{text}]}}') is not None
    assert changed(f'{{"n": [{text}]}}', digits=WIDE) is None


def test_a_slice_is_told_by_its_own_places():
    values = pa.array(["{}", '{"k": 1, "k": 2}', None, "-0"], pa.large_string())
    assert (first_changed(values.slice(1), 38) or (9,))[0] == 0
    assert (first_changed(values.slice(2), 38) or (9,))[0] == 1
    assert first_changed(values.slice(0, 1), 38) is None


@pytest.mark.parametrize(
    ("text", "is_long"),
    [
        ('"12345678"', False),
        ('"123456789"', True),
        ('{"a": [1, {"b": "123456789"}]}', True),
        ('{"a key that is longer": "12345678", "b": ["12345678"]}', False),
        ('["éééé", "\\u00e9\\u00e9\\u00e9\\u00e9"]', False),  # eight bytes, however written
        ('["ééééé"]', True),
        ('["1234\\"5678"]', True),
        ('["1234\\"567", "\\\\"]', False),
        ('["\\ud83d\\udea2\\ud83d\\udea2"]', False),
        ('["\\\\\\\\\\\\\\\\"]', False),
        (f'[{"9" * 5000}, "12345678"]', False),
        ("no JSON, but long", False),
        ("[" * 100_000, False),
        (None, False),
    ],
)
def test_a_text_that_is_too_long_is_found_by_its_bytes_and_long_json_of_short_ones_passes(
    text: str | None, is_long: bool
):
    found = first_long_text(pa.array(["{}", None, text], pa.large_string()), 8)
    assert found == (2 if is_long else None)
