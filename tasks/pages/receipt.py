"""What a run shows of one batch that has landed: a page, and a line of its log."""

from __future__ import annotations

import re
from datetime import datetime

from prefect.artifacts import create_markdown_artifact

from ferry.receipts.receipt import Receipt
from tasks.pages.artifacts import cosmetic
from tasks.pages.cells import escaped

SHOWN_COUNTS = (
    "rows_extracted",
    "rows_staged",
    "rows_copied",
    "rows_inserted",
    "rows_updated",
    "rows_deleted",
    "rows_unchanged",
    "rows_superseded",
)

EARLIER = "landed in an earlier attempt of this run, and not read again"
"""Said of a receipt that a retry of a run has found, and not written."""


def show_receipt(receipt: Receipt) -> None:
    """Put the receipt on the run's page, as an artifact."""
    counts = "\n".join(
        f"| {field.removeprefix('rows_')} | {count:,} |"
        for field in SHOWN_COUNTS
        if (count := getattr(receipt, field)) is not None  # of a receipt that an older Ferry wrote
        and (count or field != "rows_superseded")
    )
    without_file = "none: " + ("the rows went by INSERT" if receipt.rows_staged else "no rows")
    took = (receipt.finished_at - receipt.started_at).total_seconds()
    markdown = (
        f"### {receipt.table_name}, {receipt.window_label}\n\n"
        f"| rows | |\n| --- | ---: |\n{counts}\n\n"
        f"Mode {receipt.mode}, {receipt.status} in {took:.1f} s.\n\n"
        + (f"- cursor {escaped(receipt.cursor_name)}\n" if receipt.cursor_name else "")
        + (
            f"- read in parts, {receipt.source_snapshot} snapshot\n"
            if receipt.source_snapshot
            else ""
        )
        + f"- batch `{receipt.batch_id}`\n"
        f"- manifest {receipt.manifest_uri or without_file}\n"
        f"- checksum `{receipt.checksum}`\n"
        f"- Ferry {receipt.code_version}\n"
    )
    with cosmetic("the receipt"):
        create_markdown_artifact(
            key="receipt-" + re.sub("[^a-z0-9]", "-", receipt.table_name),
            description=receipt_line(receipt),
            markdown=markdown,
        )


def receipt_line(receipt: Receipt, attempt_began: datetime | None = None) -> str:
    """One line: the table, the window, what changed, and whether an earlier attempt changed it.

    Args:
        receipt: The receipt.
        attempt_began: When this attempt of the run began, by this machine's clock, if it matters.
    """
    line = (
        f"{receipt.table_name} {receipt.window_label}: {receipt.rows_extracted:,} read, "
        + receipt.counts_line
    )
    if attempt_began and is_earlier(receipt, attempt_began):
        return f"{line}; {EARLIER}"
    return line


def is_earlier(receipt: Receipt, attempt_began: datetime) -> bool:
    """Whether an earlier attempt of the run has landed it, so that this one had nothing to do.

    Of an attempt on another machine, whose clock is ahead, it is not seen.
    """
    return receipt.started_at < attempt_began
