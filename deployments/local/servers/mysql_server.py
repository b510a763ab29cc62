"""A private MySQL with TLS: what MariaDB, which every machine has, differs from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deployments.local import mysql_program
from deployments.local.servers.mariadb_server import MariaDB, as_root


@dataclass
class MySQL(MariaDB):
    """A running MySQL server, with the attributes and the user of `MariaDB`.

    Its program is the one that `deployments.local.mysql_program` finds; its log is ``mysql.log``.
    """

    name: ClassVar[str] = "mysql"

    _own_options: ClassVar[Sequence[str]] = (
        "--innodb-redo-log-capacity=256M",
        "--mysqlx=OFF",
        "--skip-log-bin",
        "--secure-file-priv=",  # the folder that is built in need not be there
    )
    _first_statements: ClassVar[Sequence[str]] = ()

    @staticmethod
    def _program() -> Path:
        return mysql_program.find()

    @staticmethod
    def _make_command(data: Path) -> list[str | Path]:
        return [
            mysql_program.find(),
            "--no-defaults",
            *as_root(),
            "--initialize-insecure",  # its root may come by the socket only, in a private folder
            f"--datadir={data}",
        ]
