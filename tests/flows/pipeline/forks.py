"""Runs and commands in processes of their own that have everything imported, for killing them.

Python's start and its imports would be most of each.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from prefect.blocks.core import Block
from prefect.context import refresh_global_settings_context

from tests.harness.api import quiet_task_runs
from tests.harness.plain_runs import plain_runs, without_server
from tests.harness.saved_blocks import kept_here, kept_now

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "flows.backfill_tables",
        "flows.reconcile_tables",
        "flows.watch_runs",
        "flows.pipeline.summaries.publish",
        "fastapi",  # which Prefect imports where a run of it begins
        "prefect.cli.deploy",
        "prefect.cli.flow_run",
        __name__,
    ]
)
_ROOT = Path(__file__).parents[3]


def begin(
    run: Callable[..., None], *given: Any, environment: dict[str, str] | None = None
) -> ForkServerProcess:
    """Begin this in a process of its own, with the environment that this one has by now.

    Where this one's blocks are on no server, the flows are called as functions there, too.

    Args:
        run: A function of a module, not a flow, which does not travel.
        given: What it is given.
        environment: Its environment, if not this one's.
    """
    environment = dict(os.environ) if environment is None else environment
    process = _FORKS.Process(target=_run, args=(environment, kept_now(), run, *given), daemon=True)
    process.start()
    return process


def command(
    *arguments: str, said: Path | None = None, environment: dict[str, str] | None = None
) -> ForkServerProcess:
    """Begin `python -m prefect` with these arguments, as `begin` does, at the repository's root.

    Args:
        arguments: The command's.
        said: The file that it writes to instead of the screen.
        environment: Its environment, if not this process's.
    """
    return begin(_prefect, arguments, said, environment=environment)


def finished(
    whole: Sequence[str], *, env: dict[str, str] | None = None, **_: Any
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` tells of `python -m prefect …`, its output in one, but of a fork."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        process = command(*whole[whole.index("prefect") + 1 :], said=said, environment=env)
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(whole, process.exitcode, said.read_text())


def _prefect(arguments: tuple[str, ...], said: Path | None) -> None:
    if said is not None:
        with said.open("wb") as file:
            for screen in (1, 2):
                os.dup2(file.fileno(), screen)
    os.chdir(_ROOT)
    sys.argv = ["prefect", *arguments]
    runpy.run_module("prefect", run_name="__main__")


def _run(
    environment: dict[str, str],
    kept: tuple[str, tuple[Block, ...]] | None,
    run: Callable[..., None],
    *given: Any,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    refresh_global_settings_context()
    with ExitStack() as stack:
        if kept is None:
            stack.enter_context(quiet_task_runs())
        else:
            name, blocks = kept
            for as_here in (without_server(), plain_runs(), kept_here(name, *blocks)):
                stack.enter_context(as_here)
        run(*given)


class Killer:
    """Begins runs, and kills each at some moment of the time that a whole one takes here.

    Args:
        run: What is run; a function of a module, not a flow, which does not travel.
        first: What a whole run is given, of which its time is learned; it is run twice.
    """

    def __init__(self, run: Callable[..., None], *first: tuple[Any, ...]):
        self.chance = random.Random(7)
        self._run = run
        for given in first:  # with the first the fork server starts, too
            self._took = self._until_its_end(given)

    def kill(self, *given: Any) -> None:
        """Begin a run, and kill it at a moment by chance, or shortly after its end."""
        begun = time.monotonic()
        process = begin(self._run, *given)
        process.join(self.chance.uniform(0, 1.2 * self._took))
        process.kill()
        process.join()
        if process.exitcode == 0:
            self._took = 0.9 * self._took + 0.1 * (time.monotonic() - begun)

    def _until_its_end(self, given: tuple[Any, ...]) -> float:
        begun = time.monotonic()
        process = begin(self._run, *given)
        process.join()
        assert process.exitcode == 0
        return time.monotonic() - begun
