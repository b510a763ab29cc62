"""Limits on the readers of a source.

Registered with the Prefect server beside the blocks, and safe to register again.
"""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectNotFound

from tasks.places.readers import backfill_limit, readers_limit

READERS = 4
"""How many read from a source at once where nobody has said another number."""

REGISTERED = "ferry_registered_limits"
"""The variable that remembers which numbers were registered, so that others are people's."""


def register_limits(source: str, readers: int | None = None) -> list[str]:
    """Let so many read from the source at once, over all processes; backfills one fewer, or one.

    What somebody set in Prefect's UI stays, until another number is registered than the last time.

    Args:
        source: The name of the source block.
        readers: How many; None for as many as were registered the last time.

    Returns:
        The names of the limits; with its number, where one is kept that differs.
    """
    many = READERS if readers is None else readers
    wanted = {readers_limit(source): many, backfill_limit(source): max(1, many - 1)}
    lines = []
    with get_client(sync_client=True) as client:
        variable = client.read_variable_by_name(REGISTERED)
        value = variable.value if variable else None
        before: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
        if readers is None:
            wanted |= {name: before[name] for name in wanted.keys() & before.keys()}
        for name, limit in wanted.items():
            there = _limit(client, name)
            if there is None or before.get(name, limit) != limit:
                client.upsert_global_concurrency_limit_by_name(name, limit)
                there = limit
            lines.append(name if there == limit else f"{name}: kept at {there}, not {limit}")
        registered: Any = before | wanted
        if variable is None:
            client.create_variable(
                VariableCreate(name=REGISTERED, value=registered, tags=["ferry"])
            )
        elif registered != before:
            client.update_variable(VariableUpdate(name=REGISTERED, value=registered))
    return lines


def _limit(client: SyncPrefectClient, name: str) -> int | None:
    try:
        return client.read_global_concurrency_limit_by_name(name).limit
    except ObjectNotFound:
        return None
