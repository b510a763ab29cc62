"""What is to be built of a summary, and what has been built and is not published yet."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ferry.schema import TableName
from ferry.summaries.partitions import EVERYTHING, Span, spans_label
from ferry.summaries.specs import SummarySpec


@dataclass(frozen=True)
class Build:
    """One summary, some of its partitions (or all), one run.

    Attributes:
        spec: The summary.
        spans: What is built.
        covers: The ids of the batches and publications that this build takes in; where it is of
            all, those of voids as well.
        published_before: How often the summary had been published before its tables were read.
        flow_run_id: Prefect's id of the run.
        accepted: Labels of checks that may fail this once.
        known: The ids of all batches and publications that were to be taken in when it was planned.
        replaced: Which tables that it reads had been emptied, or copied as a whole, when it was
            planned, each with when that was last.
        of_what_is_left: Whether somebody asks for it of whatever is there, after a loss too.
        id: Its own, and its publication's.
        started_at: When it was planned, before anything was read.
    """

    spec: SummarySpec
    spans: tuple[Span, ...]
    covers: tuple[str, ...]
    published_before: int
    flow_run_id: str
    accepted: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    replaced: frozenset[tuple[str, datetime]] = frozenset()
    of_what_is_left: bool = False
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def whole(self) -> bool:
        """Whether all of the summary is built."""
        return EVERYTHING in self.spans

    @property
    def label(self) -> str:
        """The partitions as people say them."""
        return spans_label(self.spans)

    def __str__(self) -> str:
        return f"{self.spec.target} {self.label}"


@dataclass(frozen=True)
class Built:
    """The rows just built, in a table of their own, which nobody but the checks has seen."""

    build: Build
    table: TableName
    rows: int
