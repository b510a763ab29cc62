"""What people are shown is never longer than they can read, and says how much is not shown."""

from __future__ import annotations

import pytest

from ferry.bounded import MAX_CHARACTERS, first_of, on_one_line, shortened
from ferry.errors import SchemaError


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        (["a", "b", "c"], ["a", "b", "and 1 more"]),
        (["a"] * 20_002, ["a", "a", "and 20,000 more"]),
    ],
)
def test_the_first_lines_are_shown_and_the_others_counted(
    lines: list[str], shown: list[str]
) -> None:
    assert first_of(iter(lines), 2) == shown


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    assert shortened("short", 5) == "short"
    text = shortened("begin" + "x" * 9_000 + "end", 100)
    assert len(text) <= 100
    assert text.startswith("begin")
    assert text.endswith("end")
    assert on_one_line(" a\n  b ") == "a b"


def test_an_error_that_lists_thousands_of_names_can_still_be_read() -> None:
    names = ", ".join(f"column_{n}" for n in range(20_000))
    error = SchemaError(f"columns {names}", expected=names, found=names, todo="Run ALTER TABLE.")
    assert len(str(error)) < 4 * MAX_CHARACTERS
    assert str(error).endswith("Run ALTER TABLE.")
    assert "column_0" in str(error)
    assert "column_19999" in str(error)
