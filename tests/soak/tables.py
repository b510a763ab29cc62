"""The tables of a soak: each way of carrying one, and rows in the past for the backfills."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

PAST_DAYS = 120
SCHEMA = "raw_data"

TABLES = ("orders", "visits", "clicks", "users", "ledger")
"""orders: windows of a minute. visits: by day, caught up and backfilled. clicks: by hour, caught
up. users: a full copy. ledger: a watermark."""

CREATE = (
    "CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, version INT NOT NULL, "
    "note VARCHAR(40) NOT NULL, amount DECIMAL(12,2) NOT NULL, modified DATETIME(6) NOT NULL, "
    "KEY (modified))"
)


TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
"""The first moment of the day on which the soak began."""

FIRST_DAY = TODAY - timedelta(days=PAST_DAYS)
"""The first day of `visits`."""

FIRST_HOUR = TODAY - timedelta(days=1)
"""The first hour of `clicks`."""


def write_specs(file: Path) -> None:
    """The table specs; whatever is tried again is tried soon."""
    windows = {"mode": "window", "key": ["id"], "cursor": "modified"}
    tables = {
        "orders": windows | {"every": "never"},
        "visits": windows | {"catch_up": True, "start_date": FIRST_DAY.date(), "insert_rows": 0},
        "clicks": windows
        | {
            "every": "hour",
            "settle": 5,
            "catch_up": True,
            "start_date": FIRST_HOUR.date(),
        },
        "users": {"mode": "full"},
        "ledger": {
            "mode": "watermark",
            "key": ["id"],
            "cursor": "modified",
            "lag": 60,
            "every": "hour",
        },
    }
    defaults = {"source": "shop", "schema": SCHEMA, "retry_delay_seconds": 5}
    file.write_text(yaml.safe_dump({"defaults": defaults, "tables": tables}))
