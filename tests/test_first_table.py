"""What the page for the first table says is run as it stands there, on a MySQL server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pymysql
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "first-table.md"
FENCES = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.S)
NOBODY = "http://127.0.0.1:9"


def run(folder: Path, settings: dict[str, str], *commands: str) -> subprocess.CompletedProcess[str]:
    """Run the commands in a shell that is set up for another Prefect server, behind a proxy."""
    (folder / ".venv").symlink_to(sys.prefix)
    known = ("PATH", "HOME", "TMPDIR", "LANG")
    env = {name: os.environ[name] for name in known if name in os.environ}
    return subprocess.run(
        ["/bin/bash", "-euc", "\n".join(commands)],
        cwd=folder,
        env={
            **env,
            **settings,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "prefect_api_url": f"{NOBODY}/api",  # Prefect reads small letters, too
            "PREFECT_CLIENT_MAX_RETRIES": "0",
            "HTTP_PROXY": NOBODY,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def customers(mariadb: Any, mysql_database: str) -> dict[str, str]:
    """A hundred customers changed on 5 January 2023, others on other days; how to reach them."""
    rows = [(n, f"2023-01-0{n % 6 + 1} 10:00:00") for n in range(600)]
    connection: pymysql.Connection[Any] = mariadb.connect(database=mysql_database)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE customers (id INT PRIMARY KEY, updated_at DATETIME NOT NULL)")
        cursor.executemany("INSERT INTO customers VALUES (%s, %s)", rows)
        connection.commit()
    return {
        "FERRY_MYSQL_HOST": mariadb.host,
        "FERRY_MYSQL_PORT": str(mariadb.port),
        "FERRY_MYSQL_DATABASE": mysql_database,
        "FERRY_MYSQL_USER": mariadb.user,
        "FERRY_MYSQL_PASSWORD": mariadb.password,
        "FERRY_MYSQL_CA": str(mariadb.ca_path),
    }


def test_the_first_table_arrives_by_the_commands_on_its_page(
    customers: dict[str, str], tmp_path: Path
) -> None:
    where = FENCES[0]
    assert set(re.findall(r"(FERRY_MYSQL_\w+)=", where)) == set(customers)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.S)
    done = run(tmp_path, customers, *FENCES[1:])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == shown.strip()


def test_no_block_is_saved_where_a_file_names_another_server(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.prefect.api]\nurl = "{NOBODY}/api"\n')
    done = run(tmp_path, {}, FENCES[1])
    assert done.returncode != 0
    assert "another Prefect server" in done.stderr
