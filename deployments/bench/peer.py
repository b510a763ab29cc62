"""The peer: Airflow's `SqlToS3Operator` in a virtual environment that is thrown away."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

from deployments.bench.measured import Measured, run
from deployments.bench.servers import BenchServers
from deployments.local.servers.prefect_server import without_settings

INSTALL_SECONDS = 600
EXECUTE_SECONDS = 300

# The hook's C client for which no MySQL headers have to be on the machine; the provider asks for
# the one that needs them, so it is installed without what it asks for.
_AIRFLOW = (
    ("apache-airflow>=3,<4", "apache-airflow-providers-amazon", "pandas<3"),
    ("--only-binary=:all:", "mysql-connector-python<10"),
    ("--no-deps", "apache-airflow-providers-mysql"),
)
_PROGRAM = Path(__file__).parent / "peers" / "sql_to_s3.py"


class PeerError(RuntimeError):
    """The environment could not be made here; says why."""


def make_environment(folder: Path, steps: Sequence[Sequence[str]] = _AIRFLOW) -> Path:
    """The Python of a new virtual environment; with Airflow in it, after two minutes or so.

    Args:
        folder: Where it is to be.
        steps: What pip is asked for, step by step.

    Raises:
        PeerError: It cannot be made on this machine, or not in time.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    for packages in steps:
        try:
            done = subprocess.run(
                [python, "-m", "pip", "install", "--quiet", *packages],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"pip did not end within {INSTALL_SECONDS} s") from error
        if done.returncode != 0:
            errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
            raise PeerError(f"pip: {(errors or ['no reason given'])[0]}")
    return python


def version(python: Path) -> str:
    """Which Airflow, and which of its amazon provider."""
    code = (
        "from importlib.metadata import version as v;"
        "print('Airflow', v('apache-airflow') + ', amazon provider',"
        " v('apache-airflow-providers-amazon'))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def sql_to_s3(python: Path, servers: BenchServers, table: str) -> Measured:
    """Let the operator carry the table to S3, over verified TLS as ours.

    Raises:
        MeasuredError: It failed, or took too long.
    """
    shop, lake = servers.mariadb, servers.s3
    connections = {
        "SHOP": {
            "conn_type": "mysql",
            "host": shop.host,
            "port": shop.port,
            "login": shop.user,
            "password": shop.password,
            "schema": shop.database,
            "extra": {"client": "mysql-connector-python", "ssl_ca": str(shop.ca_path)}
            | {"ssl_verify_cert": True, "ssl_verify_identity": True},
        },
        "LAKE": {
            "conn_type": "aws",
            "login": lake.access_key,
            "password": lake.secret_key,
            "extra": {"endpoint_url": lake.endpoint, "region_name": lake.region},
        },
    }
    env = without_settings(os.environ) | {
        "AIRFLOW_HOME": str(servers.folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **{f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()},
    }
    env.pop("PYTHONPATH", None)
    return run(
        [python, "-I", _PROGRAM, table, lake.bucket],
        servers.folder / "airflow.log",
        env=env,
        cwd=servers.folder,
        timeout_seconds=EXECUTE_SECONDS,
    )
