"""An hour on the local stack with everything killed: `python -m tests.soak --minutes 60`.

The exit status is 1 if in the end anything is not as it has to be. What happened is told by the
seed in kind, not to the second: servers and processes take their time.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.harness.slack import running_slack
from tests.soak.checks import check_all
from tests.soak.ending import end_well
from tests.soak.faults import Faults
from tests.soak.page import page
from tests.soak.runs import Runs
from tests.soak.servers import Servers
from tests.soak.tables import write_specs
from tests.soak.told import say
from tests.soak.writer import Writer

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Let it run for so long, end it, and check; the exit status says how it went."""
    ask = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    ask.add_argument("--minutes", type=float, default=60, help="how long things go wrong")
    ask.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="of what does")
    ask.add_argument("--folder", type=Path, default=ROOT / ".ferry" / "soak", help="made anew")
    ask.add_argument("--keep", action="store_true", help="leave servers and data as they are")
    asked = ask.parse_args()
    tempfile.gettempdir()  # ours stays where it is
    shutil.rmtree(asked.folder, ignore_errors=True)
    asked.folder.mkdir(parents=True)
    say(f"seed {asked.seed}, {asked.minutes:g} minutes, in {asked.folder}")
    with running_slack(asked.folder) as slack:
        return soak(asked.folder, slack, asked.seed, 60 * asked.minutes, keep=asked.keep)


def soak(folder: Path, slack: object, seed: int, seconds: float, *, keep: bool) -> int:
    """As `main`, once there is a folder and a receiver of messages."""
    write_specs(folder / "tables.yaml")
    servers = Servers.begin(folder, slack)  # type: ignore[arg-type]
    try:
        writer, runs, faults = Writer(servers, seed), Runs(servers, seed), Faults(servers, seed)
        writer.make_tables()
        runs.make_schedules()
        begun = time.monotonic()
        for each in (writer, runs, faults):
            each.start()
        while time.monotonic() - begun < seconds:
            time.sleep(1)
            for each in (writer, runs, faults):
                each.raise_if_broken()
        say("faults end; everything is brought up, and what is under way comes to its end")
        claims = end_well(servers, writer, runs, faults)
        checks = check_all(servers, writer, slack.messages, claims)  # type: ignore[attr-defined]
        told = page(seed, time.monotonic() - begun, servers, writer, runs, faults, checks)
        sys.stdout.write(told + "\n")
        return 1 if any(each.holds is False for each in checks) else 0
    finally:
        if not keep:
            servers.end()


if __name__ == "__main__":
    sys.exit(main())
