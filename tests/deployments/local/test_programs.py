from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local import programs

PROGRAM = Path(programs.__file__)


@pytest.fixture
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine whose only folder for programs is an empty one; yields that folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(programs, "_folders", lambda: [folder])
    programs._search.cache_clear()
    yield folder
    programs._search.cache_clear()


def make_program(path: Path, script: str = "#!/bin/sh\n") -> None:
    path.write_text(script)
    path.chmod(0o755)


def test_it_needs_nothing_but_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(PROGRAM)], capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        *programs.MARIADB,
        *programs.POSTGRES,
    ]


def test_every_program_it_names_runs() -> None:
    for name in ("mariadbd", "mariadb", "mariadb-dump", "postgres", "initdb"):
        version = subprocess.run(
            [programs.find(name), "--version"], capture_output=True, text=True, check=True
        )
        assert name in version.stdout


def test_the_programs_of_postgres_come_from_one_folder_the_newest(
    monkeypatch: pytest.MonkeyPatch, nothing_found: Path, tmp_path: Path
) -> None:
    for version in ("9", "15", "17"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        make_program(folder / "postgres")
        if version != "17":
            make_program(folder / "initdb")
    folders = programs.newest_first(tmp_path.glob("*/bin"))
    monkeypatch.setattr(programs, "_folders", lambda: folders)
    assert programs.find("initdb") == tmp_path / "15" / "bin" / "initdb"
    assert programs.find("postgres") == tmp_path / "15" / "bin" / "postgres"


def test_without_apt_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, nothing_found: Path
) -> None:
    monkeypatch.setenv("PATH", str(nothing_found))
    with pytest.raises(programs.ProgramsMissingError) as error:
        programs.ensure()
    for line in ("mariadbd, mariadb-install-db", "apt-get install", "dnf install", "brew install"):
        assert line in str(error.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="as root it needs no sudo")
def test_it_installs_programs_without_making_a_cluster_and_refreshes_stale_lists(
    monkeypatch: pytest.MonkeyPatch, nothing_found: Path, tmp_path: Path
) -> None:
    no_cluster = tmp_path / "createcluster.d" / "ferry.conf"
    monkeypatch.setattr(programs, "_NO_CLUSTER", str(no_cluster))
    calls = tmp_path / "calls"
    names = " ".join([*programs.MARIADB, *programs.POSTGRES])
    make_program(
        nothing_found / "apt-get",
        f"""#!/bin/sh
grep -q 'create_main_cluster = false' {no_cluster} || exit 9
echo "$@" >> {calls}
case "$*" in
  *update*) touch {tmp_path}/updated ;;
  *) test -e {tmp_path}/updated || exit 100
     for name in {names}; do touch {nothing_found}/$name; chmod +x {nothing_found}/$name; done ;;
esac
""",
    )
    monkeypatch.setenv("PATH", f"{nothing_found}{os.pathsep}{os.environ['PATH']}")

    found = programs.ensure()

    assert set(found) == {*programs.MARIADB, *programs.POSTGRES}
    install = "-q -y install --no-install-recommends mariadb-server-core mariadb-client postgresql"
    assert calls.read_text().splitlines() == [install, "-q -y update", install]
    assert not no_cluster.exists()


def test_a_failed_installation_tells_what_apt_said(
    monkeypatch: pytest.MonkeyPatch, nothing_found: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "_NO_CLUSTER", str(tmp_path / "c" / "ferry.conf"))
    monkeypatch.setattr(programs, "_root_prefix", list)
    make_program(nothing_found / "apt-get", "#!/bin/sh\necho no network >&2\nexit 100\n")
    monkeypatch.setenv("PATH", f"{nothing_found}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(programs.ProgramsMissingError, match="no network"):
        programs.ensure()
