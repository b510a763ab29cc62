"""What the README and the runbook promise is written beside the tests that show it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/guarantees.md").read_text()
SECTION = "## What is guaranteed, and what is not"
NAMED = sorted(set(re.findall(r"`(tests/[^`]*::[^`]*)`", PAGE)))
CELL = re.compile(r"`tests/[^`]*::[^`]*`(, `tests/[^`]*::[^`]*`)*|no test(: .*)?")
FIRST_WORDS = 6


def words(text: str) -> list[str]:
    """The words, without marks and whatever the line breaks."""
    return re.findall(r"[\w']+", text)


def bullets() -> list[str]:
    """The README's promises, each in one line."""
    section = (ROOT / "README.md").read_text().split(SECTION)[1].split("\n## ")[0]
    found = re.findall(r"^- (.*(?:\n  .*)*)", section, re.MULTILINE)
    return [" ".join(words(bullet)[:FIRST_WORDS]) for bullet in found]


def rows() -> list[list[str]]:
    """The cells of the page's tables, without their heads."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("promise", "---")]


@cache
def names_in(file: str) -> frozenset[str]:
    """The tests of a file, as pytest names them; none if there is no such file."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            found |= {f"{node.name}::{each.name}" for each in methods}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return frozenset(found)


def test_every_test_that_is_named_exists() -> None:
    named = [name.partition("::") for name in NAMED]
    assert len(named) > 300
    assert [test for _, _, test in named if not test.rpartition("::")[2].startswith("test_")] == []
    assert [name for name in named if name[2] not in names_in(name[0])] == []


def test_every_promise_of_the_readme_is_there() -> None:
    page = " ".join(words(PAGE))
    assert len(bullets()) > 15
    assert [each for each in bullets() if each not in page] == []


def test_every_promise_names_a_test_or_says_that_there_is_none() -> None:
    told = rows()
    assert len(told) > 50
    assert [row for row in told if len(row) != 2] == []
    assert [promise for promise, tests in told if not CELL.fullmatch(tests)] == []


def test_both_documents_are_linked() -> None:
    assert "](docs/guarantees.md)" in (ROOT / "README.md").read_text().split(SECTION)[1]
    assert "](guarantees.md)" in (ROOT / "docs/runbook.md").read_text()
