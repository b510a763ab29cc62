"""The judge can say no: code that is broken on purpose is caught by a few worlds, or hundreds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

import ferry.coverage.standings
import ferry.plan
import ferry.receipts.table
import ferry.statements
from blocks.warehouses.duckdb.warehouse import DuckDBTransaction, DuckDBWarehouse
from ferry.batch import Batch
from ferry.write import merge
from tests.model.run import live
from tests.model.world import Hazard, Kind, make_world


def _an_older_row_wins() -> Any:
    """An upsert that does not look which version is newer."""
    known = merge.known
    return patch.object(
        merge,
        "known",
        lambda s, t, columns, key, version, **how: known(s, t, columns, key, None, **how),
    )


@contextmanager
def _a_stale_read_lands() -> Iterator[None]:
    """A full copy that does not look what has landed since it was read, nor whether it removes."""
    with (
        patch.object(Batch, "overwrites_newer", property(lambda _: False)),
        patch.object(ferry.receipts.table, "_REMOVES", "1 = 0"),
    ):
        yield


def _appended_twice() -> Any:
    """An append that does not take out what it reads again."""
    return patch.object(ferry.statements, "delete_from", lambda *_: "SELECT 1 WHERE 1 = 0")


def _loaded_before_it_is_over() -> Any:
    """A receipt that tells of all of its window, whenever it was read."""
    event = ferry.coverage.standings.loaded_event

    def whole(receipt: Any, *cursor: Any) -> Any:
        told = event(receipt, *cursor)
        end = receipt.window_end
        return replace(told, end=end) if told and receipt.mode == "window" else told

    return patch.object(ferry.coverage.standings, "loaded_event", whole)


def _watermark_too_high() -> Any:
    """A watermark that forgets its lag."""
    less = ferry.plan.less_lag

    def more(watermark: Any, lag: int, *rest: Any, **named: Any) -> Any:
        return less(watermark, 0, *rest, **named)

    return patch.object(ferry.plan, "less_lag", more)


def _receipt_without_rows() -> Any:
    """A transaction that keeps what was done before the process died."""

    @contextmanager
    def transaction(self: DuckDBWarehouse) -> Iterator[Any]:
        with self._writing(), self._connection() as connection:
            yield DuckDBTransaction(connection)

    return patch.object(DuckDBWarehouse, "transaction", transaction)


def _an_hour_is_left_out() -> Any:
    """Windows that end an hour early."""
    query = ferry.plan.ExtractQuery

    def shorter(*args: Any, **named: Any) -> Any:
        made = query(*args, **named)
        return replace(made, end=made.end - timedelta(hours=1)) if made.end else made

    return patch.object(ferry.plan, "ExtractQuery", shorter)


ALL = frozenset(Hazard)


def named(mutants: Iterable[tuple[Any, ...]]) -> list[str]:
    return [mutant.__name__[1:] for mutant, *_ in mutants]


MUTANTS: tuple[tuple[Callable[[], Any], frozenset[Hazard], Kind], ...] = (
    (_a_stale_read_lands, frozenset({Hazard.OVERLAPS}), Kind.FULL),
    (_appended_twice, frozenset({Hazard.LATE_COMMITS}), Kind.APPEND),
    (_receipt_without_rows, frozenset({Hazard.DEATHS, Hazard.FAULTS}), Kind.FULL),
    (_an_hour_is_left_out, frozenset(), Kind.WINDOW),
)
"""Each with what befalls the worlds, and their kind of table."""

RARELY_SEEN = (
    (_an_older_row_wins, ALL, Kind.WINDOW_VERSION),
    (_loaded_before_it_is_over, ALL, Kind.WINDOW),
    (_watermark_too_high, ALL, Kind.WATERMARK),
)
"""Those that hurt one world in twenty or fewer."""


@pytest.mark.parametrize(("mutant", "hazards", "kind"), MUTANTS, ids=named(MUTANTS))
def test_a_fault_in_the_code_breaks_a_promise_in_one_of_a_few_worlds(
    mutant: Callable[[], Any], hazards: frozenset[Hazard], kind: Kind
) -> None:
    notices(mutant, hazards, kind, worlds=15)


@pytest.mark.nights
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("mutant", "hazards", "kind"), RARELY_SEEN, ids=named(RARELY_SEEN))
def test_a_fault_that_hurts_few_worlds_is_noticed_in_some_hundred(
    mutant: Callable[[], Any], hazards: frozenset[Hazard], kind: Kind
) -> None:
    notices(mutant, hazards, kind, worlds=400)


def notices(mutant: Callable[[], Any], hazards: frozenset[Hazard], kind: Kind, worlds: int) -> None:
    seed = _broken(mutant(), hazards, kind, range(worlds))
    assert seed is not None, "no world noticed it"
    assert _broken(nullcontext(), hazards, kind, [seed]) is None, "without the fault, too"


def _broken(code: Any, hazards: frozenset[Hazard], kind: Kind, seeds: Iterable[int]) -> int | None:
    """The seed of the first world in which a promise is broken; None if there is none."""
    with code:
        for seed in seeds:
            if live(make_world(seed, hazards, (kind,))).broken:
                return seed
    return None
