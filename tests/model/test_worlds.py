"""Some worlds of each kind: whatever coverage calls loaded is there, whatever befell it.

A failure prints the world: its seed, its spec, all that happened, and the first row that differs.
`python -m tests.model --worlds 1 --seed N --verbose` lets the world of that seed pass again, and
`make model` thousands of them.
"""

from __future__ import annotations

from functools import cache

import pytest

from tests.model.run import live
from tests.model.scene import Outcome
from tests.model.world import Kind, make_world

MANY = pytest.param(20, id="many", marks=[pytest.mark.nights, pytest.mark.timeout(1200)])


@cache
def lived(seed: int, kind: Kind) -> Outcome:
    return live(make_world(seed, kinds=(kind,)))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("worlds", [pytest.param(1, id="some"), MANY])
def test_whatever_is_called_loaded_is_there_and_no_row_is_lost_doubled_or_older(
    kind: Kind, worlds: int
) -> None:
    landed = 0
    for seed in range(worlds):
        outcome = lived(seed, kind)
        assert not outcome.broken, str(outcome)
        landed += outcome.landed
    assert landed > worlds * 4, "too little arrived for this to prove anything"


def test_a_world_is_made_again_from_its_seed() -> None:
    first, second = lived(0, Kind.WATERMARK), live(make_world(0, kinds=(Kind.WATERMARK,)))
    assert str(first) == str(second)
    assert first.landed > 8
