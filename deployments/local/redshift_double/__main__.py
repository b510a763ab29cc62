"""Runs the double: ``python -m deployments.local.redshift_double --help``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
from pathlib import Path

from deployments.local.redshift_double.copy.s3 import S3Reader
from deployments.local.redshift_double.faults import FaultBook
from deployments.local.redshift_double.proxy import Backend, Proxy
from deployments.local.redshift_double.session import World
from deployments.local.redshift_double.statement_log import StatementLog

HOST = "127.0.0.1"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="redshift_double", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--backend-host", default=HOST)
    parser.add_argument("--backend-port", type=int, required=True)
    parser.add_argument("--s3-endpoint", required=True, help="http://127.0.0.1:PORT")
    parser.add_argument("--log", type=Path, required=True, help="statements, as JSON lines")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--ready-file", type=Path, help="gets the ready line when it listens")
    parser.add_argument("--control-port", type=int, default=0, help="for faults; 0: a free one")
    return parser.parse_args()


async def _control(faults: FaultBook, port: int) -> asyncio.Server:
    async def on_order(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(faults.obey(line))
            await writer.drain()
        writer.close()

    return await asyncio.start_server(on_order, HOST, port)


async def _serve(arguments: argparse.Namespace) -> None:
    tls = None
    if arguments.tls_cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(arguments.tls_cert, arguments.tls_key)
    secret = os.environ.get("AWS_SECRET_ACCESS_KEY", "testing")
    s3 = S3Reader(
        arguments.s3_endpoint.rstrip("/"), os.environ.get("AWS_ACCESS_KEY_ID", "testing"), secret
    )
    log, faults = StatementLog(arguments.log), FaultBook()
    backend = Backend(arguments.backend_host, arguments.backend_port)
    proxy = Proxy(World(log, faults, s3), backend, tls)
    server = await asyncio.start_server(
        proxy.on_client, HOST, arguments.port, limit=1 << 20, backlog=200
    )
    control = await _control(faults, arguments.control_port)
    ready = {
        "ready": True,
        "host": HOST,
        "port": server.sockets[0].getsockname()[1],
        "control_port": control.sockets[0].getsockname()[1],
        "pid": os.getpid(),
    }
    line = json.dumps(ready)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    if arguments.ready_file:
        part = arguments.ready_file.with_suffix(".part")
        part.write_text(line + "\n", encoding="utf-8")
        part.replace(arguments.ready_file)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    server.close()
    control.close()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    log.close()


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
