"""Makes sure that the server programs of MariaDB and PostgreSQL are on this machine.

Run as ``python -m deployments.local.programs``. It imports the standard library only, so it runs
before anything of the project is installed. It installs programs, never services: no daemon is
started, and none that runs is touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

MARIADB = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump")
"""MariaDB's programs; they may lie in several folders."""

POSTGRES = ("postgres", "initdb")
"""PostgreSQL's programs; taken from one folder, so that their versions agree."""

BREW = (Path("/opt/homebrew"), Path("/usr/local"), Path("/home/linuxbrew/.linuxbrew"))
"""Where Homebrew may be; what it cannot link beside another lies in ``opt`` alone."""

# mariadb-server-core holds mariadbd and mariadb-install-db without the service that
# mariadb-server adds; mariadb-dump is in mariadb-client, not in mariadb-client-core.
_APT_PACKAGES = {
    "MariaDB": ("mariadb-server-core", "mariadb-client"),
    "PostgreSQL": ("postgresql",),
}

_BY_HAND = """\
Debian, Ubuntu:  sudo apt-get install mariadb-server-core mariadb-client postgresql
Fedora:          sudo dnf install mariadb-server mariadb postgresql-server
macOS:           brew install mariadb postgresql@17"""

# postgresql-common reads this folder before a server package makes its first cluster.
_NO_CLUSTER = "/etc/postgresql-common/createcluster.d/ferry-no-cluster.conf"


class ProgramsMissingError(RuntimeError):
    """Server programs are missing and could not be installed; says what to install by hand."""


def find(name: str) -> Path:
    """The path of one program out of `MARIADB` or `POSTGRES`.

    Raises:
        ProgramsMissingError: It is nowhere; a retry helps only after installing it.
    """
    found = _search().get(name)
    if found is None:
        raise ProgramsMissingError(
            f"The program {name!r} is not on this machine. "
            f"Run `python -m deployments.local.programs`, or install it:\n{_BY_HAND}"
        )
    return found


def ensure() -> dict[str, Path]:
    """All programs with their paths, after installing the missing ones by apt where possible.

    Raises:
        ProgramsMissingError: Some are missing and apt, or the right to use it, is not there.
    """
    if missing := _missing():
        _install(missing)
        _search.cache_clear()
        if still := _missing():
            raise ProgramsMissingError(
                f"Still missing after the installation: {', '.join(still)}.\n{_BY_HAND}"
            )
    return dict(_search())


@cache
def _search() -> dict[str, Path]:
    found: dict[str, Path] = {}
    folders = list(_folders())
    for name in MARIADB:
        for folder in folders:
            if _is_program(folder / name):
                found[name] = folder / name
                break
    for folder in folders:
        if all(_is_program(folder / name) for name in POSTGRES):
            found.update({name: folder / name for name in POSTGRES})
            break
    return found


def _folders() -> Iterable[Path]:
    """Where programs may lie, the preferred places first and new PostgreSQL versions before old."""
    yield from (Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry)
    yield from (Path("/usr/sbin"), Path("/usr/local/sbin"), Path("/usr/libexec"))
    yield from newest_first(Path("/usr/lib/postgresql").glob("*/bin"))
    yield from newest_first(Path("/usr").glob("pgsql-*/bin"))
    for brew in BREW:
        yield brew / "bin"
        yield from newest_first(brew.glob("opt/postgresql*/bin"))
        yield from newest_first(brew.glob("opt/mariadb*/bin"))


def newest_first(folders: Iterable[Path]) -> list[Path]:
    """The folders, those of higher versions first."""

    def version(folder: Path) -> int:
        digits = "".join(filter(str.isdigit, folder.parent.name))
        return int(digits) if digits else 0

    return sorted(folders, key=version, reverse=True)


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _missing() -> list[str]:
    return [name for name in (*MARIADB, *POSTGRES) if name not in _search()]


def _install(missing: Sequence[str]) -> None:
    as_root = _root_prefix()
    if as_root is None or shutil.which("apt-get") is None:
        raise ProgramsMissingError(
            f"Missing server programs: {', '.join(missing)}. "
            "They are installed here only by apt, as root or with a password-less sudo. "
            f"Please install them:\n{_BY_HAND}"
        )
    with_postgres = any(name in POSTGRES for name in missing)
    packages = [
        package
        for group, names in (("MariaDB", MARIADB), ("PostgreSQL", POSTGRES))
        if any(name in names for name in missing)
        for package in _APT_PACKAGES[group]
    ]
    _say(f"Installing {', '.join(packages)} (missing: {', '.join(missing)}) ...")
    if with_postgres:
        _run([*as_root, "mkdir", "-p", str(Path(_NO_CLUSTER).parent)])
        _run([*as_root, "tee", _NO_CLUSTER], text="create_main_cluster = false\n")
    try:
        _apt_install(as_root, packages)
    finally:
        if with_postgres:
            _run([*as_root, "rm", "-f", _NO_CLUSTER])


def install_packages(packages: Sequence[str]) -> None:
    """Install these by apt.

    Raises:
        ProgramsMissingError: apt, or the right to use it, is not there, or it failed.
    """
    as_root = _root_prefix()
    if as_root is None or shutil.which("apt-get") is None:
        raise ProgramsMissingError(f"apt cannot be used here to install {', '.join(packages)}.")
    _say(f"Installing {', '.join(packages)} ...")
    _apt_install(as_root, packages)


def _root_prefix() -> list[str] | None:
    """What to put before a command to run it as root; None where that is not possible."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], check=False).returncode == 0:
        return ["sudo", "-n"]
    return None


def _apt_install(as_root: Sequence[str], packages: Sequence[str]) -> None:
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    install = [*apt, "install", "--no-install-recommends", *packages]
    try:
        _run(install)
    except ProgramsMissingError:  # no package lists yet, or lists that are out of date
        _run([*apt, "update"])
        _run(install)


def _run(command: Sequence[str], text: str | None = None) -> None:
    done = subprocess.run(
        command,
        input=text or "",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ProgramsMissingError(
            f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-2000:]}\n"
            f"Please install the programs by hand:\n{_BY_HAND}"
        )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Prints where each program is; 1, with what to install, when some cannot be had."""
    try:
        programs = ensure()
    except ProgramsMissingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for name, path in programs.items():
        _say(f"{name:<20} {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
