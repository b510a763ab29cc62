"""Which tests need nothing but Python packages, told by the fixtures that they ask for.

They are the rules, the tasks, and what is carried on the embedded route, from a SQLite file through
a folder to DuckDB: the ones that `make test-fast` runs. A new test is one of them, or is not,
without being listed anywhere. So that it stays fast, of the tests of flows it takes those that call
them as functions, of each the first case, and leaves summaries, and what is marked as `seconds`, to
`make test`; and of the examples that Hypothesis makes, it takes a third.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import settings

EMBEDDED_ROUTE = "sqlite-folder-duckdb"

OUTSIDE = frozenset({"mariadb", "mysql", "postgres", "s3", "rclone"})
"""The fixtures that start a program which no Python package brings along."""

_TESTS = Path(__file__).parents[1]
_FLOWS = _TESTS / "flows"
_ROOMS = (_TESTS / "ferry", _TESTS / "blocks", _TESTS / "tasks", _FLOWS)
"""Tests elsewhere are of the servers themselves, or start processes and wait for them."""

_CHOICE = re.compile(r"mysql|mariadb|postgres|redshift|s3|moto|rclone", re.IGNORECASE)
"""What stands in the id of a case whose parameter chooses a server of `OUTSIDE`."""


settings.register_profile("all", deadline=None, max_examples=40)
settings.register_profile("embedded", deadline=None, max_examples=12)
settings.register_profile("nights", deadline=None, max_examples=300)


def choose_examples(config: pytest.Config) -> None:
    """Let properties be tried with fewer examples where only the embedded tests run.

    With `--hypothesis-profile=nights` they are tried with many.
    """
    asked = config.getoption("--hypothesis-profile", None)
    settings.load_profile(asked or ("embedded" if _only_embedded(config) else "all"))


def examples(count: int) -> int:
    """How many examples a property takes that is to have `count` where others have a hundred."""
    return count * settings().max_examples // 100


def mark_embedded(items: Iterable[pytest.Item]) -> None:
    """Marks those that `-m embedded` is to choose."""
    begun = set()
    for item in items:
        if not is_embedded(item):
            continue
        test = item.nodeid.partition("[")[0]
        if not item.path.is_relative_to(_FLOWS) or test not in begun:
            item.add_marker(pytest.mark.embedded)
        begun.add(test)


def is_embedded(item: pytest.Item) -> bool:
    """Whether the test needs no program besides Python, and no Prefect server for its own sake."""
    if not isinstance(item, pytest.Function) or not any(
        item.path.is_relative_to(room) for room in _ROOMS
    ):
        return False
    if item.get_closest_marker("seconds"):
        return False
    asked = set(item.fixturenames)
    prefect_s = "prefect_server" in asked or ("journey" in asked and "plain_runs" not in asked)
    if item.path.is_relative_to(_FLOWS) and ("plain_runs" not in asked or "survey" in asked):
        return False
    # Only where some fixture holds the request, a parameter may ask for further fixtures.
    case = item.callspec.id if "request" in asked and hasattr(item, "callspec") else ""
    return not (prefect_s or asked & OUTSIDE or _CHOICE.search(case))


def refuse_outside(fixture: str, config: pytest.Config) -> None:
    """Fails the test that asks for such a program in a run of the embedded ones alone."""
    if fixture in OUTSIDE and _only_embedded(config):
        pytest.fail(
            f"An embedded test asks for {fixture}, which is no Python package: "
            "tests/harness/embedded.py takes it for one that does not.",
            pytrace=False,
        )


def _only_embedded(config: pytest.Config) -> bool:
    return bool(config.getoption("markexpr") == "embedded")
