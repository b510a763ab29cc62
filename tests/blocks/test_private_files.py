"""Files of rows are their user's alone, whoever was there first."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from blocks.private_files import make_private_folder, new_private_file, private_umask
from blocks.stages.parts.files import write_parts
from ferry.batch import StageFormat
from ferry.errors import ConfigurationError

SOMEBODY = 54_321
"""The id of another user, whether there is one or not."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_folder_is_made_for_its_user_alone_with_those_above_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_private_folder(folder)
    make_private_folder(folder)
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)


def test_a_folder_that_others_can_only_look_into_is_closed_to_them(tmp_path: Path) -> None:
    (folder := tmp_path / "a").mkdir()
    folder.chmod(0o755)
    make_private_folder(folder)
    assert mode(folder) == 0o700


def by_another_user(path: Path) -> None:
    path.mkdir(0o700)
    os.chown(path, SOMEBODY, SOMEBODY)


def as_a_link(path: Path) -> None:
    (elsewhere := path.with_name("elsewhere")).mkdir(0o700)
    path.symlink_to(elsewhere)


def as_a_link_to_nowhere(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def writable_by_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


TAKEN: list[tuple[Callable[[Path], None], str]] = [
    (as_a_link, "a link"),
    (as_a_link_to_nowhere, "a link"),
    (writable_by_all, "a folder that others may write, mode 0777"),
    (lambda path: path.touch(), "no folder"),
]


@pytest.mark.parametrize(
    ("taken", "found"),
    [*TAKEN, pytest.param(by_another_user, "a folder of user 54321", marks=as_root)],
)
def test_a_place_that_somebody_else_has_taken_is_refused_with_what_to_do(
    tmp_path: Path, taken: Callable[[Path], None], found: str
) -> None:
    taken(place := tmp_path / "ferry-0")
    with pytest.raises(ConfigurationError, match=f"ferry-0.*{found}.*remove it, or set TMPDIR"):
        make_private_folder(place)
    with pytest.raises(ConfigurationError, match=found):
        write_parts([], (), place, format=StageFormat.CSV, part_size_bytes=1)
    assert not list(tmp_path.glob("*/*"))


def test_a_file_is_new_and_private_and_never_written_through_a_link(tmp_path: Path) -> None:
    os.close(new_private_file(tmp_path / "new"))
    assert mode(tmp_path / "new") == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("new", "link"):
        with pytest.raises(FileExistsError):
            new_private_file(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


def test_the_mask_stands_until_the_last_of_those_who_asked_for_it_has_left(tmp_path: Path) -> None:
    first, second = private_umask(), private_umask()
    before = os.umask(0o022)
    try:
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        (tmp_path / "within").touch()
        second.__exit__(None, None, None)
        (tmp_path / "after").touch()
    finally:
        os.umask(before)
    assert (mode(tmp_path / "within"), mode(tmp_path / "after")) == (0o600, 0o644)
