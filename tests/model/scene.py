"""The places of a world, real and in a folder of their own, and the judge who looks at them."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import duckdb
from prefect.logging import disable_run_logger

import flows.backfill_tables  # all modules that a run needs are there to be patched
import flows.sync_all  # noqa: F401
from blocks.sources import SQLiteSource
from blocks.stages import FolderStage
from blocks.warehouses import DuckDBWarehouse
from blocks.warehouses.duckdb import files as duckdb_files
from ferry.coverage.standings import Coverage
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, VOID, Receipt, from_row
from ferry.statements import column_list
from ferry.windows import Window
from tasks.landed.history import read_coverage
from tests.model.clock import Clock, simulated
from tests.model.oracle import BrokenPromiseError, Oracle, Rows
from tests.model.places import Moment, Watch
from tests.model.source_history import SourceTable
from tests.model.world import World
from tests.model.writer import Writer

MAX_LOG = 400


def _unlimited(source: str, *, backfill: bool) -> nullcontext[None]:
    """A place among readers who are not limited: there is no Prefect here."""
    return nullcontext()


@dataclass
class Outcome:
    """How a world ended.

    Attributes:
        world: The world.
        broken: The first promise that was broken; empty if none was.
        log: What happened.
        refused: How often runs failed, by the kind of their errors.
        runs: How many runs there were.
        landed: How many batches landed.
    """

    world: World
    broken: str = ""
    log: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    landed: int = 0

    def __str__(self) -> str:
        return "\n".join([str(self.world), *self.log[-MAX_LOG:], f"=> {self.broken or 'all held'}"])


class Scene:
    """The source, the stage, the warehouse, the clock, the log and the judge of one world."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.spec, self.chance = world, world.spec, world.random
        self.clock = Clock(world.start - timedelta(hours=2), world.skew)
        self.outcome = Outcome(world)
        self.many = self.quiet = False
        self.calls_to_drop = 0  # of the next run, until somebody drops the target; 0: nobody does
        kind, path = world.kind, folder / "source.sqlite"
        self.table = SourceTable(
            path,
            self.spec.name,
            cursor_name=kind.cursor,
            cursor_type=kind.cursor_type,
            zone=self.spec.wall_clock_zone,
            primary_key=kind.keyed,
        )
        self.writer = Writer(world, self.table)
        self.oracle = Oracle(world, self.table.history)
        (folder / "stage").mkdir()
        self.source = SQLiteSource(path=str(path))
        self.stage = FolderStage(path=folder / "stage")
        self.warehouse = DuckDBWarehouse(path=folder / "warehouse.duckdb")
        self._folder = folder
        self._before: dict[str, Rows] = {}
        self._known: set[str] = set()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let Ferry's code run here: no Prefect, this clock, these blocks."""
        work = self._folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(disable_run_logger())
            stack.enter_context(simulated(self.clock))
            # Nothing is shown of a read that takes long: to show it, Prefect would start a server.
            stack.enter_context(patch("tasks.pages.progress.FIRST_REPORT_SECONDS", math.inf))
            for reading in (
                "tasks.landed.carried_otherwise",
                "tasks.extract",
                "tasks.landed.uncarried",
            ):
                stack.enter_context(patch(f"{reading}.place_among_readers", _unlimited))
            for name, module in list(sys.modules.items()):
                if name.startswith("flows.") and hasattr(module, "work_folder"):
                    stack.enter_context(patch.object(module, "work_folder", lambda: work))
            stack.callback(self.table.close)
            # One that stays open: to open the file anew takes ten times as long.
            kept = duckdb_files.opened(self.warehouse.path.resolve())
            self._kept = stack.enter_context(kept)
            self._kept.execute("SET threads = 1")
            stack.callback(self._kept.execute, "RESET threads")
            yield

    def log(self, text: str) -> None:
        """Write down what happened, for whoever has to understand it."""
        self.outcome.log.append(f"{self.clock.now:%m-%d %H:%M:%S} {text}")

    def step(self, *, inside: bool) -> None:
        """Time passes for a call of a run, and others act meanwhile.

        Args:
            inside: Whether the call is within a transaction: then nobody else changes the target.
        """
        self.clock.advance(self.chance.random() * self.world.step_seconds)
        self.table.pump(self.clock.now)
        if self.chance.random() < (0.1 if self.many else 0.01) and not self.quiet:
            self.writer.transact(self.clock.now)
            self.table.pump(self.clock.now)
        if self.calls_to_drop and not inside:
            self.calls_to_drop -= 1
            if not self.calls_to_drop:
                self.drop_target()

    def drop_target(self) -> None:
        """Somebody drops the target, or renames it, which is the same to all others."""
        self.log("the target is dropped")
        self.warehouse.execute(f'DROP TABLE IF EXISTS "raw_data"."{self.spec.name}"')
        self.oracle.target_is_gone()
        self.judge_claims()

    def landing(self, watch: Watch, moment: Moment, own: Window | None) -> None:
        """A transaction begins, or has ended: whether it landed a batch, its receipt tells.

        Args:
            watch: Whose.
            moment: Where it stands.
            own: What its run has to carry, if the schedule says that.
        """
        if moment is Moment.BEGUN:
            self._before[watch.name] = self.rows()
            return
        before = self._before.pop(watch.name)
        if moment is Moment.UNDONE:
            if before != self.rows():
                raise BrokenPromiseError(f"{watch.name} changed the target and did not commit")
            return
        landed = []
        for receipt in self._receipts(watch.job):
            if receipt.status == VOID:
                self.log(f"{watch.name}: {receipt.window_label}")
                continue
            landed.append(receipt)
            self.outcome.landed += 1
            counts = (
                receipt.rows_extracted,
                receipt.rows_inserted,
                receipt.rows_updated,
                receipt.rows_deleted,
                receipt.rows_unchanged,
            )
            self.log(f"{watch.name}: landed {receipt.window_label} {counts}")
        if landed:
            assert watch.read_at
            self.oracle.landed(landed, before, self.rows(), watch.read_at, own)

    def judge_claims(self) -> None:
        self.oracle.claims(self.coverage(), self.rows(), self.clock.now)

    def coverage(self) -> Coverage:
        return read_coverage(self.spec, self.warehouse)

    def rows(self) -> Rows:
        try:
            found = self._kept.execute(f'FROM "raw_data"."{self.spec.name}"')
        except duckdb.CatalogException:
            return None
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def _receipts(self, run_id: str) -> list[Receipt]:
        """What a run has landed and is not known yet."""
        names = column_list(column.name for column in RECEIPT_COLUMNS)
        select = f'SELECT {names} FROM "ferry"."{RECEIPTS.name}" WHERE flow_run_id = ?'
        try:
            found = [from_row(row) for row in self._kept.execute(select, [run_id]).fetchall()]
        except duckdb.CatalogException:
            return []
        new = [receipt for receipt in found if receipt.batch_id not in self._known]
        self._known.update(receipt.batch_id for receipt in new)
        return new
