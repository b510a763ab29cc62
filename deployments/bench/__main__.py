"""Runs all measurements and prints the table; `make bench`, options by `ARGS=…`."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from deployments.bench import (
    backfill,
    floor,
    limits,
    page,
    peer,
    ranges,
    reconcile,
    sqlite,
    sums,
    table,
)
from deployments.bench.measured import Measured, MeasuredError, run
from deployments.bench.peers import chart, race
from deployments.bench.servers import REPOSITORY, SHORT, BenchServers, start_servers
from deployments.bench.table import WAYS, Results, Samples

TABLES = ("nps", "orders")
_ALONE = ("reconcile", "backfill", "peers", "sums")
"""Sections that can be measured alone, and have a place of their own in the page."""
FULL = (3, 5_000_000, 1_000_000)
QUICK = (1, 500_000, 100_000)
"""Rounds, rows of nps, rows of orders."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.bench",
        description="Measure Ferry against the servers' own clients and against Airflow.",
    )
    parser.add_argument("--quick", action="store_true", help="one round, a tenth of the rows")
    parser.add_argument("--rounds", type=int, help="how many rounds, instead of three")
    parser.add_argument("--no-peers", action="store_true", help="leave Airflow, dlt and Sling out")
    parser.add_argument(
        "--peers", action="store_true", help="only the whole path beside dlt and Sling"
    )
    parser.add_argument(
        "--limits", action="store_true", help="only what the limits on readers cost"
    )
    parser.add_argument("--backfill", action="store_true", help="only what many windows cost")
    parser.add_argument("--reconcile", action="store_true", help="only what comparing costs")
    parser.add_argument("--sums", action="store_true", help="only what the sums of columns cost")
    parser.add_argument("--sqlite", action="store_true", help="only the embedded route")
    parser.add_argument("--ranges", action="store_true", help="only what reading in ranges saves")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    return parser.parse_args()


def main() -> None:
    """Measure, print the table, and write it into a page if told to."""
    options = _options()
    rounds, nps_rows, orders_rows = QUICK if options.quick else FULL
    rounds = options.rounds or rounds
    if options.sqlite:
        sqlite.main(rounds, options.quick, options.write)
        return
    if options.ranges:
        ranges.main(rounds, nps_rows, options.write)
        return
    results = Results({"nps": nps_rows, SHORT: nps_rows // 5, "orders": orders_rows})
    # 0755: PostgreSQL, not running as root, keeps its data in it.
    with tempfile.TemporaryDirectory(prefix="ferry-bench-") as name:
        folder = Path(name)
        only = options.limits or any(getattr(options, name) for name in _ALONE)
        no_peers = options.no_peers or only
        python = None if no_peers else _environment(folder / "airflow-venv", results)
        _say("starting the servers, making the tables")
        with start_servers(folder, nps_rows, orders_rows) as servers:
            for number in range(1, 1 if only else rounds + 1):
                for each in TABLES:
                    _say(f"round {number} of {rounds}, {each}")
                    _measure_floor(servers, results, each)
                    _measure_ours(servers, results, each)
                    if python and not _measure_peer(servers, results, each, python):
                        python = None
                _measure_short(servers, results)
                results.flow_run.add(_run(servers, "flow-run").seconds)
                results.task_runs.add(_run(servers, "task-runs").seconds)
            raced = None if no_peers and not options.peers else _race(servers, results, rounds)
            if options.backfill or not only:
                _say("the year as days, as months; days without rows; a bad value")
                found = backfill.measure(servers, partial(_run, servers), nps_rows, rounds)
                results.section += backfill.table_rows(found)
                results.notes += found.notes
            if options.limits or not only:
                _say("the same with limits on readers and without them")
                costs = limits.measure(servers, rounds)
                results.section += limits.table_rows(costs)
            if options.reconcile or not only:
                _say("comparing")
                compared = reconcile.measure(servers, partial(_run, servers), nps_rows, rounds)
                results.section += reconcile.table_rows(compared)
                results.notes += compared.notes
            if options.sums or not only:
                _say("the whole path with sums and without them")
                rows = {each: results.rows[each] for each in TABLES}
                with_sums = sums.measure(servers, partial(_run, servers), rows, rounds)
                results.section += sums.table_rows(with_sums, rows)
    if options.no_peers:
        results.notes.append("Airflow, dlt and Sling were left out: --no-peers.")
    lines = table.lines(results)
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    if options.write:
        _write(options, lines, raced)


def _write(options: argparse.Namespace, lines: list[str], raced: race.Found | None) -> None:
    """Put the table into the page, where what was measured alone has its place."""
    alone = [name for name in _ALONE if getattr(options, name)]
    what = alone[0] if alone else "measured"
    if options.peers and raced:
        lines = page.with_image(
            options.write, what, chart.draw(raced), chart.in_words(raced), lines
        )
    page.write(options.write, lines, f"make bench ARGS='{shlex.join(sys.argv[1:])}'", what)


def _environment(folder: Path, results: Results) -> Path | None:
    _say("making a virtual environment with Airflow")
    try:
        python = peer.make_environment(folder)
    except peer.PeerError as error:
        results.notes.append(f"Airflow could not be installed here: {error}.")
        return None
    results.notes.append(f"The peer is {peer.version(python)}.")
    return python


def _measure_floor(servers: BenchServers, results: Results, each: str) -> None:
    results.dump.setdefault(each, Samples()).add(floor.dump(servers, each))
    if not floor.loadable(servers, each).exists():
        floor.make_loadable(servers, each)
    results.load.setdefault(each, Samples()).add(floor.load(servers, each))


def _measure_ours(servers: BenchServers, results: Results, each: str) -> None:
    for way in WAYS:
        _measure_way(servers, results, way, each)


def _measure_short(servers: BenchServers, results: Results) -> None:
    """The short table by each measure and route once, for its memory."""
    for way in WAYS:
        if way[2] != "window":
            _measure_way(servers, results, way, SHORT)


def _measure_way(servers: BenchServers, results: Results, way: table.Way, each: str) -> None:
    measure, route, mode = way
    servers.empty_targets()
    arguments = [measure, f"{each}_{route}", *([mode] if mode else [])]
    measured = _run(servers, *arguments)
    rows = measured.result["rows"]
    if rows != results.rows[each]:
        raise MeasuredError(f"{' '.join(arguments)} carried {rows} of {results.rows[each]} rows")
    results.ours.setdefault((way, each), Samples()).add(
        measured.seconds, measured.peak_mb, measured.before_mb
    )


def _race(servers: BenchServers, results: Results, rounds: int) -> race.Found:
    found = race.measure(servers, partial(_run, servers), results.rows, rounds, _say)
    results.section += race.table_rows(found)
    results.notes += found.notes
    return found


def _measure_peer(servers: BenchServers, results: Results, each: str, python: Path) -> bool:
    try:
        measured = peer.sql_to_s3(python, servers, each)
    except MeasuredError as error:
        reason = str(error).strip().rpartition("\n")[2]
        results.notes.append(f"Airflow's operator failed with {each}: {reason}")
        return False
    results.airflow.setdefault(each, Samples()).add(measured.seconds, measured.peak_mb)
    return True


def _run(servers: BenchServers, *arguments: str, log: str = "one.log") -> Measured:
    return run(
        [sys.executable, "-m", "deployments.bench.one", *arguments],
        servers.folder / log,
        env=servers.env,
        cwd=REPOSITORY,
    )


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


if __name__ == "__main__":
    main()
