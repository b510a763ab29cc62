"""What the page for the first own database says is run as it stands there, on real servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "own-database.md").read_text()
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.S | re.M)
IN_SOURCE, IN_WAREHOUSE = [text for kind, text in FENCES if kind == "sql"]
COMMANDS = "\n".join(text for kind, text in FENCES if not kind)
(SHOWN,) = [text for kind, text in FENCES if kind == "text"]
TABLES = {"crm": ["customers"], "billing": ["customers", "invoices"]}


@pytest.fixture
def source(mariadb: Any) -> Iterator[Any]:
    """Both databases: of each table, a hundred rows changed on each of six days; and the user."""
    rows = [(n, f"2023-01-0{n % 6 + 1} 10:00:00") for n in range(600)]
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@socket")  # by which only the server's administrator may come
        ((socket,),) = cursor.fetchall()
    with (
        closing(pymysql.connect(unix_socket=socket, user="root", autocommit=True)) as connection,
        connection.cursor() as cursor,
    ):
        for database, tables in TABLES.items():
            cursor.execute(f"CREATE DATABASE {database}")
            for table in tables:
                name = f"{database}.{table}"
                cursor.execute(
                    f"CREATE TABLE {name} (id INT PRIMARY KEY, updated_at DATETIME NOT NULL)"
                )
                cursor.executemany(f"INSERT INTO {name} VALUES (%s, %s)", rows)
        for statement in IN_SOURCE.strip().split(";\n"):
            cursor.execute(statement.rstrip(";"))
        yield mariadb
        cursor.execute("DROP USER ferry_reader")
        for database in TABLES:
            cursor.execute(f"DROP DATABASE {database}")


@pytest.fixture
def warehouse(postgres: Any) -> Iterator[Any]:
    """A database `analytics` with the page's role and schemas."""
    admin = postgres.connect()
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("CREATE DATABASE analytics TEMPLATE template0")
        connection = postgres.connect(database="analytics")
        with connection, connection.cursor() as within:
            within.execute(IN_WAREHOUSE)
        connection.close()
        yield postgres
        cursor.execute("DROP DATABASE analytics WITH (FORCE)")
        cursor.execute("DROP ROLE ferry_loader")
    admin.close()


@pytest.mark.nights
@pytest.mark.timeout(900)  # two processes with a Prefect server each, whatever else computes
def test_two_sources_arrive_in_a_warehouse_by_the_commands_on_their_page(
    source: Any, warehouse: Any, tmp_path: Path
) -> None:
    here = {
        '"db.example.com"': f'"{source.host}"',
        '"port": 3306': f'"port": {source.port}',
        "/etc/ssl/db-ca.pem": str(source.ca_path),
        '"dwh.example.com"': f'"{warehouse.host}"',
        "port=5432": f"port={warehouse.port}",
        "/etc/ssl/dwh-ca.pem": str(warehouse.ca_path),
    }
    commands = COMMANDS.replace("PYTHONPATH=.", f"PYTHONPATH={ROOT}")
    for there, own in here.items():
        assert commands.count(there) == 1, there
        commands = commands.replace(there, own)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    known = ("PATH", "HOME", "TMPDIR", "LANG")
    env = {name: os.environ[name] for name in known if name in os.environ}
    done = subprocess.run(
        ["/bin/bash", "-euc", commands],
        cwd=tmp_path,
        env={
            **env,
            "PYTHONIOENCODING": "utf-8",
            "prefect_api_url": "http://127.0.0.1:9/api",  # Prefect reads small letters, too
            "HTTP_PROXY": "http://127.0.0.1:9",
            "PREFECT_CLIENT_MAX_RETRIES": "0",
        },
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == SHOWN.strip()
