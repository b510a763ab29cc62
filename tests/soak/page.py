"""What a soak tells at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.soak.faults import Faults
from tests.soak.record import flow_names, runs_in
from tests.soak.runs import Runs
from tests.soak.servers import Servers
from tests.soak.verdict import Check
from tests.soak.writer import Writer


def page(
    seed: int,
    seconds: float,
    servers: Servers,
    writer: Writer,
    runs: Runs,
    faults: Faults,
    checks: Sequence[Check],
) -> str:
    """Figures, faults and checks, one a line."""
    names = flow_names(servers)
    ended = Counter(
        f"{names.get(run.flow_id)} {run.state_name}"
        for run in runs_in(servers)
        if run.state and run.state.is_final()
    )
    ((receipts, rows),) = servers.ask_warehouse(
        "SELECT COUNT(*), SUM(rows_extracted) FROM ferry.receipts"
    )
    held = [each.holds for each in checks if each.holds is not None]
    return "\n".join(
        [
            "",
            f"Soak with seed {seed}, {seconds / 60:.0f} minutes: "
            f"{sum(ended.values()):,} runs, {receipts:,} windows landed with {rows or 0:,} rows, "
            f"{sum(faults.counts.values()):,} faults",
            f"written: {writer.writes:,} times, refused {writer.refused:,} times",
            "",
            *(f"{n:5,} {what}" for what, n in sorted(faults.counts.items())),
            "",
            *(f"{n:5,} {what}" for what, n in sorted(runs.counts.items())),
            "",
            *(f"{n:5,} {what}" for what, n in sorted(ended.items())),
            "",
            *map(str, checks),
            "",
            f"all {len(held)} checks hold"
            if all(held)
            else f"{held.count(False)} of {len(held)} checks are broken",
        ]
    )
