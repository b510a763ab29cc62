"""dlt and Sling: how each is installed, told where the servers are, and run.

Both connect by verified TLS to both servers, as ours does.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from deployments.bench import peer
from deployments.bench.measured import Measured, run
from deployments.bench.servers import SCHEMA, BenchServers
from deployments.local.servers import MariaDB, Postgres
from deployments.local.servers.prefect_server import without_settings

CARRY_SECONDS = 600


@dataclass(frozen=True)
class Tool:
    """Something that is installed once a run.

    Attributes:
        name: As people know it.
        packages: What pip is asked for, in so many steps.
        noted: The packages of which a note tells the versions.
        program: What its Python runs to carry a table.
        environment: What the program is told, and how the tool is kept to the bench's folder.
    """

    name: str
    packages: tuple[tuple[str, ...], ...]
    noted: tuple[str, ...]
    program: str
    environment: Callable[[BenchServers], Mapping[str, str]]


@dataclass(frozen=True)
class Peer:
    """A tool with its settings, as a line of the table."""

    name: str
    tool: Tool
    settings: tuple[str, ...] = ()


def make_environment(tool: Tool, folder: Path) -> Path:
    """The Python of a new virtual environment with the tool in it.

    Raises:
        PeerError: It cannot be made on this machine, or not in time.
    """
    return peer.make_environment(folder / f"{tool.name.lower()}-venv", tool.packages)


def versions(tool: Tool, python: Path) -> str:
    """Which versions the environment has, such as `dlt 1.31.0, connectorx 0.4.6`."""
    code = (
        "import sys; from importlib.metadata import version;"
        "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    )
    command: list[str | Path] = [python, "-I", "-c", code, *tool.noted]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def carry(each: Peer, python: Path, servers: BenchServers, table: str) -> Measured:
    """Let it carry the whole table into `SCHEMA`.

    Raises:
        MeasuredError: It failed, or took too long.
    """
    env = without_settings(os.environ) | {"TMPDIR": servers.env["TMPDIR"]}
    env.pop("PYTHONPATH", None)
    return run(
        [python, "-I", Path(__file__).with_name(each.tool.program), table, SCHEMA, *each.settings],
        servers.folder / f"{each.tool.name.lower()}.log",
        env={**env, **each.tool.environment(servers)},
        cwd=servers.folder,
        timeout_seconds=CARRY_SECONDS,
    )


def _for_dlt(servers: BenchServers) -> dict[str, str]:
    shop, warehouse = servers.mariadb, servers.postgres
    source = (
        f"//{shop.user}:{quote(shop.password, safe='')}@{shop.host}:{shop.port}/{shop.database}?"
    )
    target = (
        f"postgresql://{warehouse.user}:{quote(warehouse.password, safe='')}"
        f"@{warehouse.host}:{warehouse.port}/{warehouse.database}?"
    )
    ca_path = str(shop.ca_path)
    by_sqlalchemy = {"ssl_ca": ca_path, "ssl_check_hostname": "true"}
    # On loopback its driver would go by the socket, which has no TLS.
    by_connectorx = {"prefer_socket": "false", "ssl-mode": "VERIFY_IDENTITY", "ssl-ca": ca_path}
    by_libpq = {"sslmode": "verify-full", "sslrootcert": str(warehouse.ca_path)}
    return {
        "PEER_SOURCE": f"mysql+pymysql:{source}{urlencode(by_sqlalchemy, quote_via=quote)}",
        "PEER_READER": f"mysql:{source}{urlencode(by_connectorx, quote_via=quote)}",
        "PEER_TARGET": target + urlencode(by_libpq, quote_via=quote),
        "DLT_DATA_DIR": str(servers.folder / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


def _for_sling(servers: BenchServers) -> dict[str, str]:
    connections = {
        "SHOP": {"type": "mariadb", "tls": "true"} | _login(servers.mariadb),
        "WAREHOUSE": {
            "type": "postgres",
            "sslmode": "verify-full",
            "sslrootcert": str(servers.postgres.ca_path),
        }
        | _login(servers.postgres),
    }
    return {
        # Its driver for MariaDB verifies against the system's authorities: these.
        "SSL_CERT_FILE": str(servers.mariadb.ca_path),
        "SLING_HOME_DIR": str(servers.folder / "sling"),
        "SLING_DISABLE_TELEMETRY": "TRUE",
        **{name: json.dumps(value) for name, value in connections.items()},
    }


def _login(server: MariaDB | Postgres) -> dict[str, str | int]:
    return {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "database": server.database,
    }


DLT = Tool(
    "dlt",
    (
        (
            *("dlt[postgres,sql-database]>=1.31,<2", "connectorx", "pyarrow", "pandas"),
            *("pymysql", "adbc-driver-manager", "adbc-driver-postgresql"),
        ),
    ),
    ("dlt", "connectorx", "adbc-driver-postgresql"),
    "carry_with_dlt.py",
    _for_dlt,
)

# The package `sling` fetches its program from elsewhere when it is first used; this has it inside.
SLING = Tool(
    "Sling",
    (("sling-linux-amd64",),),
    ("sling-linux-amd64",),
    "carry_with_sling.py",
    _for_sling,
)

PEERS = (
    Peer("dlt, ConnectorX and CSV", DLT, ("csv",)),
    Peer("dlt, ConnectorX and Parquet", DLT, ("parquet",)),
    Peer("Sling", SLING),
)
"""What is measured, in this order."""
