"""Whether a process still runs the code that its files hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry.resume.own_code import OwnCode


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("A = 1")
    (tmp_path / "inner" / "b.py").write_text("B = 1")
    return tmp_path


def test_the_same_code_has_the_same_digest_in_whichever_process(package: Path) -> None:
    first = OwnCode(package).digest()
    os.utime(package / "a.py", (0, 0))  # as another checkout of it has other times
    assert OwnCode(package).digest() == first


def _replaced(package: Path) -> None:
    (package / "new").write_text("B = 2")
    (package / "new").replace(package / "inner" / "b.py")


@pytest.mark.parametrize(
    "change",
    [
        lambda package: (package / "a.py").write_text("A = 12"),
        lambda package: (package / "inner" / "c.py").write_text(""),
        lambda package: (package / "a.py").unlink(),
        _replaced,
    ],
    ids=["changed", "added", "gone", "replaced"],
)
def test_code_that_has_changed_since_has_a_digest_that_nobody_else_has(
    package: Path, change: Callable[[Path], object]
) -> None:
    before, ours = OwnCode(package).digest(), OwnCode(package)
    change(package)
    assert ours.digest() not in (before, OwnCode(package).digest())
    assert ours.digest() == ours.digest()


def test_what_is_no_code_may_change(package: Path) -> None:
    ours = OwnCode(package)
    (package / "notes.txt").write_text("read me")
    assert ours.digest() == OwnCode(package).digest()
