"""What the limits on the source's readers cost: the same backfills with them and without them.

Everything else is measured with the limits that registration makes. Here each case is run in turn
with them and without them, and the medians are compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

from deployments.bench.measured import Measured
from deployments.bench.places import Places
from deployments.bench.table import Row, row

COST = 1.05
"""At most this times the same work without limits."""

CASES = {
    "a year as 365 days, 4 at once": ("2023-01-01", "2024-01-01", 4),
    "100 empty days, one at a time": ("2022-01-01", "2022-04-11", 1),
    "100 empty days, 4 at once": ("2022-01-01", "2022-04-11", 4),
}
"""What is carried: from, to, and how many windows at once."""

Run = Callable[..., Measured]


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


def measure(places: Places, run: Run, table: str, rounds: int) -> list[Cost]:
    """Carry each case with limits and without, so many times.

    Raises:
        MeasuredError: A run failed.
    """
    costs = []
    for case, (start, end, at_once) in CASES.items():
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(rounds):
            for limited in (True, False):
                places.empty_targets()
                with nullcontext() if limited else places.without_limits():
                    measured = run("backfill", table, start, end, "day", str(at_once))
                seconds[limited].append(measured.seconds)
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
