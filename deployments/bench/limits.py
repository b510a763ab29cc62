"""What the limits on the source's readers cost: the same runs with them and without them.

Everything else is measured with the limits that registration makes. Here each case is run in turn
with them and without them, by a worker, as users run it, and the medians are compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from deployments.bench.backfill import TABLE
from deployments.bench.measured import MeasuredError
from deployments.bench.servers import TINY, YEAR, BenchServers
from deployments.bench.table import Row, row
from deployments.bench.worker import carry, workers

FEW_TABLES = 22
COST = 1.05
"""At most this times the same work without limits."""


@dataclass(frozen=True)
class Case:
    """What is carried: a deployment of `prefect.yaml`, and the parameters of its run."""

    deployment: str
    parameters: Mapping[str, Any]


def _days(start: str, end: str, at_once: int) -> Case:
    return Case(
        "backfill/on-demand",
        {
            "table": TABLE,
            "start_date": start,
            "end_date": end,
            "granularity": "day",
            "reprocess": "all",
            "max_concurrency": at_once,
        },
    )


CASES = {
    "a year as 365 days, 4 at once": _days("2023-01-01", "2024-01-01", 4),
    "100 empty days, one at a time": _days("2022-01-01", "2022-04-11", 1),
    "100 empty days, 4 at once": _days("2022-01-01", "2022-04-11", 4),
    f"{FEW_TABLES} tiny tables": Case(
        "sync-all/daily",
        {"tables": list(TINY[:FEW_TABLES]), "run_date": YEAR.start.isoformat()},
    ),
}


@dataclass(frozen=True)
class Cost:
    """The median seconds of one case."""

    case: str
    limited: float
    unlimited: float

    @property
    def ratio(self) -> float:
        """With limits, to without."""
        return self.limited / self.unlimited


def measure(servers: BenchServers, rounds: int) -> list[Cost]:
    """Carry each case with limits and without, so many times, by a worker.

    Raises:
        MeasuredError: A run failed, or carried other rows than one before it.
    """
    costs = []
    with workers(servers):
        for case, what in CASES.items():
            seconds: dict[bool, list[float]] = {True: [], False: []}
            rows = set()
            for number in range(rounds):
                for limited in (True, False) if number % 2 == 0 else (False, True):
                    servers.empty_targets()
                    with nullcontext() if limited else servers.without_limits():
                        measured = carry(servers, what.deployment, what.parameters)
                    seconds[limited].append(measured.seconds)
                    rows.add((measured.result["rows"], measured.result["receipts"]))
            if len(rows) > 1:
                raise MeasuredError(f"{case}: runs carried other rows or windows: {sorted(rows)}")
            medians = {limited: statistics.median(taken) for limited, taken in seconds.items()}
            costs.append(Cost(case, medians[True], medians[False]))
    return costs


def table_rows(costs: list[Cost]) -> Iterator[Row]:
    """The rows of this section."""
    for cost in costs:
        yield row(
            f"limits on readers: {cost.case}",
            "nps",
            seconds=cost.limited,
            ratio=cost.ratio,
            to=f"{cost.unlimited:.1f} s without",
            goal=COST,
        )
