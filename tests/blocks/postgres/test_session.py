"""What a connection to PostgreSQL and Redshift is like."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from blocks.warehouses import PostgresWarehouse, RedshiftWarehouse


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no such limit")
def test_what_is_sent_has_as_long_to_be_acknowledged_as_a_silent_server_to_answer(
    postgres_warehouse: PostgresWarehouse, redshift_warehouse: RedshiftWarehouse
) -> None:
    for warehouse in (postgres_warehouse, redshift_warehouse):
        with (
            contextlib.closing(warehouse._connect()) as connection,
            socket.socket(fileno=os.dup(connection.fileno())) as its,
        ):
            idle, interval, count, unanswered = (
                its.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
        assert unanswered == (idle + interval * count) * 1000 == 120_000
