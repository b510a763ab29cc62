"""The stack's command line: ``up``, ``status``, ``query`` and ``down``."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg2

from deployments.local.programs import ProgramsMissingError
from deployments.local.servers import StartError
from deployments.local.stack import FOLDER, Stack, StackError, up

_RECEIPTS = "SELECT window_label, rows_extracted, rows_copied, rows_inserted FROM ferry.receipts"


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say; 1 when that failed or, for ``status``, when it is not up."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "up":
            return _up(options.folder, options.nps_rows, options.orders_rows)
        if options.command == "down":
            return _down(options.folder)
        if options.command == "status":
            return _status(options.folder)
        return _query(options.folder, options.sql)
    except (StartError, StackError, ProgramsMissingError, psycopg2.Error) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments.local.stack")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the stack lives")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser(
        "up", help="start all of it, unless all of it runs; register, deploy"
    )
    start.add_argument("--nps-rows", type=int, default=150_000, help="when first made")
    start.add_argument("--orders-rows", type=int, default=10_000, help="when first made")
    commands.add_parser("status", help="tell how the servers are")
    query = commands.add_parser("query", help="ask the warehouse")
    query.add_argument("sql")
    commands.add_parser("down", help="stop what up started")
    return parser


def _up(folder: Path, nps_rows: int, orders_rows: int) -> int:
    before = Stack.load(folder)
    if before is not None and before.all_alive():
        _say("The stack is up already.")
    else:
        _say("Starting MariaDB, S3, the Redshift double, Prefect and two workers ...")
    stack = up(folder, nps_rows=nps_rows, orders_rows=orders_rows)
    _say(_welcome(stack))
    return 0


def _welcome(stack: Stack) -> str:
    """Where things are, and commands that can be pasted as they stand."""
    python, prefect = _program("python"), _program("prefect")
    module = f"{python} -m deployments.local.stack"
    if stack.folder != FOLDER:
        module += f" --folder {stack.folder}"
    api, auth_path = stack.env["PREFECT_API_URL"], stack.prefect_env_path
    auth = os.path.relpath(auth_path) if auth_path.is_relative_to(Path.cwd()) else str(auth_path)
    auth = auth if os.sep in auth else f"./{auth}"
    return f"""\
Prefect UI:  {api.removesuffix("/api")}
It asks for: PREFECT_API_AUTH_STRING in {auth}
Logs:        {stack.folder}/*/*.log

Carry a day, look at its receipt, stop everything:

  . {shlex.quote(auth)}
  {prefect} deployment run sync-table/on-demand \\
      --param table=nps --param run_date=2023-01-05 --watch
  {module} query {shlex.quote(_RECEIPTS)}
  {module} down"""


def _program(name: str) -> str:
    """How to call a program that lies beside this Python, from the current folder."""
    beside = Path(sys.executable).parent / name
    if shutil.which(name) == str(beside):
        return name
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)


def _down(folder: Path) -> int:
    stack = Stack.load(folder)
    if stack is None:
        _say("The stack is not up.")
        return 0
    _say(f"Stopped: {', '.join(stack.down()) or 'nothing, all had ended'}.")
    return 0


def _status(folder: Path) -> int:
    stack = Stack.load(folder)
    if stack is None:
        _say("The stack is not up.")
        return 1
    for process in stack.processes:
        state = "runs " if process.alive() else "ended"
        _say(f"{process.name:<10} {state}  pid {process.pid:<8} {process.log_path}")
    return 0 if stack.all_alive() else 1


def _query(folder: Path, sql: str) -> int:
    stack = Stack.load(folder)
    if stack is None:
        raise StackError("The stack is not up: python -m deployments.local.stack up")
    connection = psycopg2.connect(
        host=stack.env["FERRY_WAREHOUSE_HOST"],
        port=int(stack.env["FERRY_WAREHOUSE_PORT"]),
        user=stack.env["FERRY_WAREHOUSE_USER"],
        password=stack.env["FERRY_WAREHOUSE_PASSWORD"],
        dbname=stack.env["FERRY_WAREHOUSE_DATABASE"],
        sslmode="verify-full",
        sslrootcert=stack.env["FERRY_WAREHOUSE_CA"],
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            connection.commit()
            if cursor.description is not None:
                _say("\t".join(column.name for column in cursor.description))
                for row in cursor.fetchall():
                    _say("\t".join("" if value is None else str(value) for value in row))
    finally:
        connection.close()
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
