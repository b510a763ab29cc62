from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.local.servers import ServerProcess
from deployments.local.stack import Stack
from deployments.local.stack.__main__ import main

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A stack of two processes, written down as ``up`` does it."""
    stack = Stack(tmp_path, env={"FERRY_MYSQL_PASSWORD": "s3cret"})
    for name in ("first", "second"):
        stack.processes.append(ServerProcess.launch(name, SLEEP, tmp_path / name))
    stack.save()
    return stack


def test_what_it_writes_down_is_private_and_enough_to_stop_it(stack: Stack) -> None:
    path = stack.folder / "state.json"
    assert path.stat().st_mode & 0o077 == 0
    found = Stack.load(stack.folder)
    assert found is not None
    assert found.env == stack.env
    assert "s3cret" not in repr(found)
    assert found.all_alive()
    assert found.down() == ["second", "first"]
    assert not any(process.alive() for process in stack.processes)
    assert not path.exists()
    stack.down()


def test_down_leaves_a_process_alone_that_only_has_the_pid(tmp_path: Path) -> None:
    bystander = subprocess.Popen(SLEEP)
    try:
        record = ServerProcess("gone", bystander.pid, "1", tmp_path).record()
        state = {"processes": [record], "env": {}}
        (tmp_path / "state.json").write_text(json.dumps(state))
        assert main(["--folder", str(tmp_path), "down"]) == 0
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_status_tells_which_process_has_ended(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--folder", str(stack.folder), "status"]
    assert main(arguments) == 0
    os.kill(stack.processes[0].pid, signal.SIGKILL)
    stack.processes[0].wait(5)
    assert main(arguments) == 1
    shown = capsys.readouterr().out
    assert "first      ended" in shown
    assert "second     runs" in shown
    assert "s3cret" not in shown
    stack.down()


def test_commands_without_a_stack_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--folder", str(tmp_path)]
    assert main([*arguments, "status"]) == 1
    assert main([*arguments, "down"]) == 0
    assert main([*arguments, "query", "SELECT 1"]) == 1
    assert "not up" in capsys.readouterr().err
