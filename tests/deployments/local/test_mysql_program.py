from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deployments.local import mysql_program, programs
from deployments.local.programs import ProgramsMissingError


def make_program(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a MySQL server, and without a mirror to have one from."""
    monkeypatch.delenv("FERRY_MYSQLD", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    monkeypatch.setattr(mysql_program, "FOLDER", tmp_path / "unpacked")
    monkeypatch.setattr(mysql_program, "_SYSTEM_FOLDERS", ())
    monkeypatch.setattr(programs, "BREW", (), raising=False)
    monkeypatch.setattr(mysql_program, "_mirror", lambda: None)


def test_it_needs_nothing_but_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "deployments.local.mysql_program"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("mysqld ")


def test_the_one_that_is_named_wins_over_the_path_and_that_over_the_unpacked_one(
    monkeypatch: pytest.MonkeyPatch, nothing_found: None, tmp_path: Path
) -> None:
    unpacked = make_program(tmp_path / "unpacked" / "mysqld", "mysqld Ver 9.7.4")
    assert mysql_program.ensure() == unpacked
    on_path = make_program(tmp_path / "bin" / "mysqld", "mysqld Ver 8.4.0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'none'}:{tmp_path / 'bin'}")
    assert mysql_program.ensure() == on_path
    named = make_program(tmp_path / "elsewhere" / "mysqld-debug", "mysqld Ver 8.0.40")
    monkeypatch.setenv("FERRY_MYSQLD", str(named))
    assert mysql_program.ensure() == named


def test_homebrews_is_found_that_is_not_linked_since_mariadbs_is(
    monkeypatch: pytest.MonkeyPatch, nothing_found: None, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "BREW", (tmp_path / "brew",))
    make_program(tmp_path / "brew" / "bin" / "mysqld", "mysqld Ver 11.8.2-MariaDB")
    for release in ("8.0", "9.4"):
        brewed = make_program(
            tmp_path / "brew" / "opt" / f"mysql@{release}" / "bin" / "mysqld", f"Ver {release}.1"
        )
    assert mysql_program.find() == brewed


def test_mariadbs_program_of_that_name_is_no_mysql(
    monkeypatch: pytest.MonkeyPatch, nothing_found: None, tmp_path: Path
) -> None:
    other = make_program(tmp_path / "bin" / "mysqld", "mysqld Ver 10.11.19-MariaDB")
    monkeypatch.setenv("PATH", str(other.parent))
    with pytest.raises(ProgramsMissingError, match="no MySQL server on this machine"):
        mysql_program.find()
    monkeypatch.setenv("FERRY_MYSQLD", str(other))
    with pytest.raises(ProgramsMissingError, match="FERRY_MYSQLD is no MySQL server"):
        mysql_program.ensure()


def test_where_none_can_be_had_it_ends_and_says_loudly_what_to_do(
    nothing_found: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mysql_program.main() == 1
    told = capsys.readouterr().err
    assert told.startswith("\n*** There is no MySQL server")
    for way in ("FERRY_MYSQLD", "Debian as root", "tar.gz", "dnf install", "brew install"):
        assert way in told


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "sources.list",
            "# deb http://old.test/debian x main\ndeb http://near.test/debian x",
        ),
        ("sources.list", "deb [signed-by=/k.gpg arch=amd64] http://near.test/debian x main\n"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://near.test/debian\n"),
    ],
)
def test_the_mirror_is_the_one_that_apt_is_set_up_with(
    tmp_path: Path, file: str, text: str
) -> None:
    apt, system = tmp_path / "apt", tmp_path / "os-release"
    (apt / "sources.list.d").mkdir(parents=True)
    (apt / "sources.list.d" / "another.list").write_text("deb https://another.test/apt y main")
    (apt / file).write_text(text)
    system.write_text('NAME="Debian GNU/Linux"\nID=debian\n')
    assert mysql_program._mirror(apt, system) == "http://near.test/debian"
    system.write_text("ID=ubuntu\nID_LIKE=debian\n")
    assert mysql_program._mirror(apt, system) is None


def test_an_unpacking_that_fails_leaves_nothing_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, nothing_found: None, tmp_path: Path
) -> None:
    make_program(tmp_path / "bin" / "debootstrap", "E: no such suite")
    (tmp_path / "bin" / "debootstrap").write_text("#!/bin/sh\necho 'E: no such suite'\nexit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    with pytest.raises(ProgramsMissingError, match=r"E: no such suite[\s\S]*FERRY_MYSQLD"):
        mysql_program._unpack("http://near.test/debian")
    assert list(tmp_path.glob("*unfinished*")) == []
    assert not (tmp_path / "unpacked").exists()


def test_of_what_is_unpacked_only_files_stay_that_a_copy_can_read(
    monkeypatch: pytest.MonkeyPatch, nothing_found: None, tmp_path: Path
) -> None:
    bootstrap = make_program(tmp_path / "bin" / "debootstrap", "")
    bootstrap.write_text(
        "#!/bin/sh\ncd /; for last; do before=$root; root=$last; done; root=$before\n"
        "mkdir -p $root/dev $root/var/lib $root/usr/sbin $root/usr/share/doc\n"
        "mkfifo $root/dev/full; ln -s usr/lib $root/lib; echo x >$root/usr/sbin/mysqld\n"
    )
    monkeypatch.setenv("PATH", f"{bootstrap.parent}:/bin:/usr/bin")
    mysql_program._unpack("http://near.test/debian")
    left = [path for path in (tmp_path / "unpacked").rglob("*") if not path.is_dir()]
    assert sorted(path.name for path in left) == ["mysqld", "mysqld"]
    assert all(path.is_file() for path in left)
