"""Days of a table as receipts and failures tell them, for the tests of what is made of them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from ferry.coverage.days import TableDays, table_days
from ferry.receipts.failures import Failure
from ferry.receipts.receipt import Receipt
from ferry.specs.tables import TableSpec
from ferry.windows import Window, day_window

NOW = datetime(2023, 3, 4, 8, tzinfo=UTC)
LATER = NOW + timedelta(days=90)


def spec(**fields: Any) -> TableSpec:
    return TableSpec.model_validate(
        {"name": "nps", "source": "shop", "mode": "window", "key": ["id"], **fields}
    )


def receipt(window: Window | None, at: datetime = LATER, mode: str = "window") -> Receipt:
    return Receipt(
        batch_id="b",
        table_name="raw_data.nps",
        mode=mode,
        window_start=window.start if window else None,
        window_end=window.end if window else None,
        window_label=window.label if window else mode,
        status="loaded",
        rows_extracted=1,
        rows_staged=1,
        rows_copied=1,
        rows_inserted=1,
        rows_updated=0,
        rows_deleted=0,
        rows_unchanged=0,
        checksum="",
        manifest_uri=None,
        code_version="0",
        flow_run_id="f",
        started_at=at,
        finished_at=at,
    )


def failure(day: date, reason: str = "the server refuses") -> Failure:
    window = day_window(day)
    return Failure(
        batch_id="b",
        table_name="raw_data.nps",
        mode="window",
        window_start=window.start,
        window_end=window.end,
        window_label=window.label,
        error="AccessError",
        reason=reason,
        flow_run_id="f",
        failed_at=LATER + timedelta(hours=1),
    )


def tell(
    table: TableSpec, *receipts: Receipt, failed: tuple[Failure, ...] = (), **given: Any
) -> TableDays:
    return table_days(table, receipts, failed, **{"zone": "UTC", "now": NOW, **given})


def loaded(*days: date) -> list[Receipt]:
    return [receipt(day_window(day)) for day in days]


def since(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]
