"""The table of nights names each test of `tests/nights`, and no test that is not there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reliability.md").read_text()
HEADS = ("what happens", "---")


def nights() -> list[list[str]]:
    """The cells of the table, without its head and the lines that only name a subject."""
    section = PAGE.split("\n# Nights\n")[1].split("\n# ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] not in HEADS and not row[0].startswith("**")]


def names_in(file: Path) -> set[str]:
    """The tests of a file, as pytest names them; none if there is no such file."""
    if not file.is_file():
        return set()
    functions = [node for node in ast.parse(file.read_text()).body if hasattr(node, "name")]
    return {f"{file.relative_to(ROOT)}::{each.name}" for each in functions}


def named() -> list[str]:
    """The tests that the table names."""
    return [test for row in nights() for test in re.findall(r"`(tests/[^`]*)`", row[-1])]


def long_ones() -> set[str]:
    """The tests that `make test` leaves out."""
    found = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            marks = [ast.unparse(each) for each in getattr(node, "decorator_list", [])]
            if "pytest.mark.nights" in marks:
                found.add(f"{file.relative_to(ROOT)}::{node.name}")  # type: ignore[attr-defined]
    return found


def test_every_night_names_its_test() -> None:
    assert len(nights()) > 20
    assert [row for row in nights() if len(row) != 4 or not row[-1].startswith("`tests/")] == []


def test_every_test_that_is_named_exists() -> None:
    there = {test for name in named() for test in names_in(ROOT / name.partition("::")[0])}
    assert [name for name in named() if name not in there] == []


def test_every_night_that_is_tested_stands_in_the_table() -> None:
    files = sorted((ROOT / "tests/nights").glob("test_*.py"))
    tested = {name for file in files for name in names_in(file) if "::test_" in name}
    assert len(files) > 3
    assert sorted(tested - set(named())) == []


def test_no_promise_is_tested_by_long_nights_alone() -> None:
    page = (ROOT / "docs/guarantees.md").read_text()
    rows = [set(re.findall(r"`(tests/[^`]*::[^`]*)`", line)) for line in page.splitlines()]
    long = long_ones()
    assert len(long) > 3
    assert [row for row in rows if row and row <= long] == []
