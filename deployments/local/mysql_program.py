"""Makes sure that a MySQL server is on this machine, which MariaDB is not.

Run as ``python -m deployments.local.mysql_program``. It imports the standard library only. No
stable Debian has a MySQL; unstable has one, with libraries of its own age. So as root on Debian it
is unpacked, with those libraries, into a folder of the checkout: nothing of the machine's own is
replaced, and nothing is started.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from deployments.local import programs
from deployments.local.programs import ProgramsMissingError, install_packages, newest_first

FOLDER = Path(__file__).parents[2] / ".ferry" / "mysql"
"""Where it is unpacked: some 500 MB, which ``make clean`` leaves."""

_PACKAGE = "mysql-server-core"
_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/libexec")
_TODO = """\
The tests of the MySQL source run on MySQL, too. Set FERRY_MYSQLD to the path of its server program
(`mysqld`; MariaDB's is not one), or put it on the PATH:
Debian as root:  python3 -m deployments.local.mysql_program
Fedora:          sudo dnf install mysql-server   (or mysql8.4-server)
macOS:           brew install mysql
Ubuntu, and where its package excludes MariaDB's: unpack the tar.gz of MySQL's own site"""


def find() -> Path:
    """The path of MySQL's server program: FERRY_MYSQLD's, the PATH's, Homebrew's, or the unpacked.

    Raises:
        ProgramsMissingError: It is nowhere, or FERRY_MYSQLD names something else.
    """
    if named := os.environ.get("FERRY_MYSQLD"):
        if not _is_mysql(Path(named)):
            raise ProgramsMissingError(f"FERRY_MYSQLD is no MySQL server: {named}\n{_TODO}")
        return Path(named)
    places = [*os.environ.get("PATH", "").split(os.pathsep), *_SYSTEM_FOLDERS]
    brewed = [folder for brew in programs.BREW for folder in brew.glob("opt/mysql*/bin")]
    for folder in [*map(Path, filter(None, places)), *newest_first(brewed), FOLDER]:
        if _is_mysql(folder / "mysqld"):
            return folder / "mysqld"
    raise ProgramsMissingError(f"There is no MySQL server on this machine.\n{_TODO}")


def ensure() -> Path:
    """The path of MySQL's server program, after unpacking one where that is possible.

    Raises:
        ProgramsMissingError: There is none and it cannot be had; says what to do.
    """
    try:
        return find()
    except ProgramsMissingError:
        if os.environ.get("FERRY_MYSQLD"):
            raise
        mirror = _mirror()
        if os.geteuid() != 0 or mirror is None:
            raise
    _unpack(mirror)
    return find()


def _is_mysql(path: Path) -> bool:
    """Whether it is MySQL's: MariaDB brings a program of that name, too."""
    if not (path.is_file() and os.access(path, os.X_OK)):
        return False
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "MariaDB" not in done.stdout


def _mirror(apt: Path = Path("/etc/apt"), system: Path = Path("/etc/os-release")) -> str | None:
    """The Debian mirror that apt is set up with; None elsewhere."""
    if not (system.is_file() and re.search(r'^ID="?debian"?$', system.read_text(), re.M)):
        return None
    folder = apt / "sources.list.d"
    files = [apt / "sources.list", *sorted(folder.glob("debian*")), *sorted(folder.glob("*"))]
    for file in files:
        if file.is_file() and (
            found := re.search(
                r"^(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s+)?)(https?://\S+)", file.read_text(), re.M
            )
        ):
            return found[1]
    return None


def _unpack(mirror: str) -> None:
    """Unpack the server and the libraries it was built with; its folder gets its name at the end.

    Raises:
        ProgramsMissingError: The mirror has none, or the disk no room.
    """
    _say(f"Unpacking a MySQL server into {FOLDER} (once; about a minute and 700 MB) ...")
    if shutil.which("debootstrap") is None:
        install_packages(["debootstrap", "gpgv", "debian-archive-keyring", "ca-certificates"])
    unfinished = FOLDER.with_name(f"mysql.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    root = unfinished / "root"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={_PACKAGE}", "sid", str(root), mirror],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ProgramsMissingError(
            f"debootstrap ended with {made.returncode}:\n{made.stdout[-2000:]}\n{_TODO}"
        )
    _keep_only_usr(root)
    (unfinished / "mysqld").write_text(_WRAPPER)
    (unfinished / "mysqld").chmod(0o755)
    shutil.rmtree(FOLDER, ignore_errors=True)
    unfinished.rename(FOLDER)


def _keep_only_usr(root: Path) -> None:
    """Take away what no server needs: above all the devices, which whoever copies the folder reads.

    A copy of ``/dev/full`` has no end but the disk's.

    Raises:
        ProgramsMissingError: Something is still mounted there, and would be taken away with it.
    """
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    if held := [mount for mount in mounts if Path(mount).is_relative_to(root.resolve())]:
        raise ProgramsMissingError(f"Still mounted below {root}: {', '.join(held)}; unmount it")
    for place in root.iterdir():
        if place.is_symlink() or not place.is_dir():
            place.unlink()
        elif place.name != "usr":
            shutil.rmtree(place)
    for needless in ("doc", "locale", "man"):
        shutil.rmtree(root / "usr" / "share" / needless, ignore_errors=True)


# --no-defaults has to stay the first option. The loader is the one its libraries belong to.
_WRAPPER = """\
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/root
lib=$(echo "$root"/usr/lib/*-linux-gnu*)
first=
[ "$1" = --no-defaults ] && { first=--no-defaults; shift; }
exec "$lib"/ld-linux-*.so.* --library-path "$lib:$root/usr/lib/mysql/private" \\
  "$root/usr/sbin/mysqld" $first --lc-messages-dir="$root/usr/share/mysql" \\
  --character-sets-dir="$root/usr/share/mysql/charsets" \\
  --plugin-dir="$root/usr/lib/mysql/plugin" "$@"
"""


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Prints where the program is; 1, with what to do, when it cannot be had."""
    try:
        path = ensure()
    except ProgramsMissingError as error:
        sys.stderr.write(f"\n*** {error}\n\n")
        return 1
    _say(f"{'mysqld':<20} {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
