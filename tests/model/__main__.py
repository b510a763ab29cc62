"""Thousands of worlds: `python -m tests.model --worlds 3000 --seed 1`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.model.run import live
from tests.model.world import Hazard, Kind, make_world


def main() -> int:
    """Let so many worlds pass; the exit status is 1 if a promise was broken in any of them."""
    ask = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    ask.add_argument("--worlds", type=int, default=3000, help="how many")
    ask.add_argument("--seed", type=int, default=0, help="the first one's")
    ask.add_argument("--show", type=int, default=3, help="how many broken ones to show in full")
    ask.add_argument("--only", nargs="*", help="hazards, by their names in capitals", default=None)
    ask.add_argument("--without", nargs="*", help="hazards to leave out", default=[])
    ask.add_argument("--kinds", nargs="*", help="kinds of table, by their names", default=None)
    ask.add_argument("--verbose", action="store_true", help="show every world")
    asked = ask.parse_args()
    chosen = list(Hazard) if asked.only is None else [Hazard[name] for name in asked.only]
    hazards = frozenset(chosen) - {Hazard[name] for name in asked.without}
    kinds = tuple(Kind[name] for name in asked.kinds) if asked.kinds else tuple(Kind)
    begun, broken, runs, landed = time.monotonic(), [], 0, 0
    refused: Counter[str] = Counter()
    by_kind: Counter[str] = Counter()
    for seed in range(asked.seed, asked.seed + asked.worlds):
        outcome = live(make_world(seed, hazards, kinds))
        runs, landed = runs + outcome.runs, landed + outcome.landed
        refused += outcome.refused
        if outcome.broken:
            broken.append(seed)
            by_kind[outcome.world.kind.name] += 1
            if len(broken) <= asked.show:
                print(outcome, end="\n\n")  # noqa: T201
            else:
                print(f"{seed} {outcome.world.kind.name}: {outcome.broken}")  # noqa: T201
        elif asked.verbose:
            print(outcome, end="\n\n")  # noqa: T201
    took = time.monotonic() - begun
    print(  # noqa: T201
        f"{asked.worlds:,} worlds, {runs:,} runs, {landed:,} batches landed in {took:.0f} s: "
        f"{len(broken):,} broken {broken[:20]} {dict(by_kind)}"
    )
    for problem, count in refused.most_common(12):
        print(f"  {count:6,} runs refused: {problem}")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
