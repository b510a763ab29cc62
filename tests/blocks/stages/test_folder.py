"""What only a folder does: renames, links, permissions."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.stages import FolderStage
from ferry.batch import PartFile
from ferry.errors import AccessError, BusyError, DataError, RequestError


@pytest.fixture
def stage(tmp_path: Path) -> FolderStage:
    (tmp_path / "stage").mkdir()
    return FolderStage(path=tmp_path / "stage")


def files(stage: FolderStage) -> list[str]:
    return sorted(str(path.relative_to(stage.path)) for path in stage.path.rglob("*"))


def test_a_part_that_changed_on_its_way_is_not_kept(stage: FolderStage, part: PartFile) -> None:
    part.path.write_bytes(part.path.read_bytes()[:-1] + b"X")
    with pytest.raises(DataError, match="has changed"):
        stage.put(part, "t/k")
    assert files(stage) == ["t"]


AWAY = [
    errno.ESTALE,
    errno.EIO,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENOTCONN,
    errno.ECONNRESET,
    errno.EBUSY,
    getattr(errno, "EREMOTEIO", errno.EIO),  # Linux alone has it
]
"""How a disk answers whose server, or the network to it, is away."""


@pytest.mark.parametrize("code", AWAY)
def test_a_disk_that_fails_while_a_file_is_written_may_be_tried_again(
    stage: FolderStage, part: PartFile, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BusyError, match=f"storing 't/k' in .*: {os.strerror(code)}"):
        stage.put(part, "t/k")


@pytest.mark.parametrize("code", AWAY)
def test_a_disk_that_fails_while_a_file_is_read_may_be_tried_again(
    stage: FolderStage, part: PartFile, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    class Failing(io.FileIO):
        def readinto(self, _buffer: object) -> int:
            raise OSError(code, os.strerror(code))

    stored = stage.put(part, "t/k")
    with stage.open(stored) as content:
        assert content.read() == part.path.read_bytes()
    monkeypatch.setattr(Path, "open", lambda path, *_, **__: Failing(path))
    with (
        stage.open(stored) as content,
        pytest.raises(BusyError, match=f"reading 't/k' in .*: {os.strerror(code)}"),
    ):
        content.read(4)


def put(stage: FolderStage, part: PartFile) -> None:
    stage.put(part, "t/k")


def put_changed(stage: FolderStage, part: PartFile) -> None:
    part.path.write_bytes(b"012345678X")
    stage.put(part, "t/k")


def write_record(stage: FolderStage, _: PartFile) -> None:
    stage.write_record(b"{}", "t/k")


@pytest.mark.parametrize("code", AWAY)
@pytest.mark.parametrize("ask", [put, put_changed, write_record])
@pytest.mark.parametrize("when", ["before", "once it is stored"])
def test_a_disk_that_is_away_is_not_taken_for_a_folder_that_is_not_there(
    stage: FolderStage,
    part: PartFile,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    ask: Callable[[FolderStage, PartFile], None],
    code: int,
) -> None:
    found = os.stat

    def fail(path: Any, **how: Any) -> os.stat_result:
        stored = os.path.lexists(stage.path / "t/k")
        if path == stage.path and (stored or when == "before"):
            raise OSError(code, os.strerror(code))
        return found(path, **how)

    monkeypatch.setattr(os, "stat", fail)
    for asked in (lambda: ask(stage, part), lambda: stage.uri("t/k")):
        with pytest.raises(BusyError, match=f" 't/k' in .*: {os.strerror(code)}"):
            asked()


def test_a_file_appears_only_when_it_is_whole(
    stage: FolderStage, part: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        assert files(stage)[0] == "t"
        assert files(stage)[1].startswith("t/.storing-")
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        stage.put(part, "t/k")
    assert files(stage) == ["t"]


def test_what_a_killed_put_left_behind_goes_with_the_old_files(stage: FolderStage) -> None:
    (stage.path / "t").mkdir()
    (stage.path / "t/.storing-1").write_bytes(b"half")
    assert stage.discard_older("t", datetime.now(UTC) + timedelta(hours=1)) == 0
    assert files(stage) == []


@pytest.mark.parametrize("tidy", [True, False], ids=["removed", "listed"])
def test_a_folder_that_somebody_else_removes_meanwhile_is_no_error(
    stage: FolderStage, monkeypatch: pytest.MonkeyPatch, tidy: bool
) -> None:
    for name in ("t/a", "t/gone", "t/z"):
        stage.write_record(b"x", f"{name}/k")
    scandir = os.scandir

    def remove_and_list(path: Any = ".") -> Any:
        if str(path).endswith("gone"):
            shutil.rmtree(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", remove_and_list)
    if tidy:
        assert stage.discard_older("t", datetime.now(UTC) + timedelta(hours=1)) == 2
    else:
        assert list(stage.stored_under("t")) == ["t/a/k", "t/z/k"]


@pytest.mark.parametrize("tidy", [True, False], ids=["removed", "listed"])
def test_of_a_folder_that_never_was_nothing_is_listed(stage: FolderStage, tidy: bool) -> None:
    assert not (stage.discard_older("t", datetime.now(UTC)) if tidy else stage.stored_under("t"))


def test_empty_folders_go_with_their_last_file(stage: FolderStage, part: PartFile) -> None:
    one, other = stage.put(part, "a/b/one"), stage.put(part, "a/c/other")
    stage.discard([one.key])
    assert files(stage) == ["a", "a/c", "a/c/other"]
    stage.discard([other.key])
    assert files(stage) == []
    assert stage.put(part, "a/b/one") == one


def test_a_link_does_not_lead_out_of_the_folder(
    stage: FolderStage, part: PartFile, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(b"precious")
    (stage.path / "door").symlink_to(tmp_path / "outside")
    (stage.path / "file").symlink_to(tmp_path / "outside/file")
    for key in ("door/file", "file"):
        with pytest.raises(RequestError, match="link"):
            stage.put(part, key)
        with pytest.raises(RequestError, match="link"):
            stage.discard([key])
    stage.discard_older("", datetime.now(UTC) + timedelta(hours=1))
    assert (tmp_path / "outside/file").read_bytes() == b"precious"


def test_a_folder_without_permission_is_an_access_error(stage: FolderStage, part: PartFile) -> None:
    stage.path.chmod(0o500)
    me = os.geteuid()
    if me == 0:  # whom no permission stops
        os.seteuid(65534)
    try:
        with pytest.raises(AccessError, match="permission"):
            stage.discard_older("", datetime.now(UTC))
        with pytest.raises((AccessError, PermissionError)):
            stage.put(part, "t/k")
    finally:
        os.seteuid(me)
        stage.path.chmod(0o700)


def test_the_uri_is_the_path_as_it_is(stage: FolderStage, part: PartFile) -> None:
    staged = stage.put(part, "t/2023-01-05T03:00+01:00/100% x")
    assert staged.uri == f"file://{stage.path}/t/2023-01-05T03:00+01:00/100% x"


def test_what_the_stage_makes_is_its_users_alone_and_what_was_there_is_left(tmp_path: Path) -> None:
    (root := tmp_path / "stage").mkdir()
    root.chmod(0o755)
    (known := root / "known").mkdir()
    known.chmod(0o750)
    made = FolderStage(path=root).write_manifest([], "known/new/newer/manifest.json")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert modes == {
        "stage": 0o755,
        "known": 0o750,
        "new": 0o700,
        "newer": 0o700,
        "manifest.json": 0o600,
    }
    assert made.size_bytes > 0
