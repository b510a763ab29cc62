"""Who lives has a folder of his own, and nobody removes it; what the dead left is removed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks import work_folder as module
from blocks.work_folder import FORGOTTEN_SECONDS, remove_forgotten, work_folder
from ferry.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
LIVE = """
import sys
from blocks.work_folder import work_folder
folder = work_folder()
(folder / "batch-1").mkdir()
(folder / "batch-1" / "part-00000.csv.zst").write_bytes(b"rows")
print(folder, flush=True)
sys.stdin.read()
"""
LONG_AGO = time.time() - 400 * 86_400


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(module, "_owned", {})
    return tmp_path


@pytest.fixture
def another_run(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has part files, and the folder they are in."""
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_the_folder_is_this_processs_own_and_private(temporary: Path) -> None:
    folder = work_folder()
    assert folder == work_folder()
    assert folder.parent == temporary / f"ferry-private-{os.geteuid()}"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}


def test_a_folder_that_somebody_removed_is_made_anew() -> None:
    (gone := work_folder()).rmdir()
    assert work_folder().is_dir()
    assert work_folder() != gone


def test_another_users_folder_is_refused_before_a_row_is_written(temporary: Path) -> None:
    (taken := temporary / f"ferry-private-{os.geteuid()}").mkdir()
    taken.chmod(0o777)
    with pytest.raises(ConfigurationError, match="not this user's alone"):
        work_folder()
    with pytest.raises(ConfigurationError, match="not this user's alone"):
        remove_forgotten()


def test_a_run_that_lives_keeps_its_files_however_old_they_are(
    another_run: tuple[subprocess.Popen[str], Path],
) -> None:
    _, folder = another_run
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (LONG_AGO, LONG_AGO))
    own = work_folder()
    assert remove_forgotten() == 0
    assert (folder / "batch-1" / "part-00000.csv.zst").read_bytes() == b"rows"
    assert own.is_dir()


def test_what_a_killed_run_left_is_removed_however_new_it_is(
    another_run: tuple[subprocess.Popen[str], Path],
) -> None:
    process, folder = another_run
    process.kill()
    process.wait()
    assert folder.is_dir()
    assert remove_forgotten() == 1
    assert not folder.exists()


def test_a_run_that_ends_leaves_no_folder(
    another_run: tuple[subprocess.Popen[str], Path],
) -> None:
    process, folder = another_run
    process.communicate("")
    assert process.returncode == 0
    assert not folder.exists()


def test_a_child_of_the_process_has_a_folder_of_its_own() -> None:
    own = work_folder()
    child = os.fork()
    if child == 0:
        os._exit(0 if work_folder() != own else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert own.is_dir()


@pytest.mark.parametrize("name", ["on-elsewhere-1b9d", "0b9d-an-older-version-4711"])
def test_what_another_hosts_lock_may_keep_is_left_until_nothing_in_it_changed_for_a_week(
    temporary: Path, name: str
) -> None:
    (folder := work_folder().parent / name).mkdir()
    (part := folder / "part-00000.csv.zst").touch()
    os.utime(folder, (LONG_AGO, LONG_AGO))
    assert remove_forgotten() == 0
    week_ago = time.time() - FORGOTTEN_SECONDS - 60
    os.utime(part, (week_ago, week_ago))
    assert remove_forgotten() == 1
    assert not folder.exists()


def test_links_and_files_in_the_place_are_left_alone(temporary: Path) -> None:
    (elsewhere := temporary / "elsewhere").mkdir()
    (elsewhere / "kept").touch()
    os.utime(elsewhere, (LONG_AGO, LONG_AGO))
    (work_folder().parent / "on-elsewhere-1").symlink_to(elsewhere)
    (work_folder().parent / "a-file").touch()
    assert remove_forgotten() == 0
    assert (elsewhere / "kept").exists()


def test_where_there_are_no_locks_nothing_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(module.fcntl, "flock", no_locks)
    (folder := work_folder().parent / (module._of_this_host() + "0" * 12)).mkdir()
    assert remove_forgotten() == 0
    assert folder.is_dir()
