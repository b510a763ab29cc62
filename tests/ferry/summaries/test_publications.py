"""What is asked of the receipts, and of the publications, before a summary is built."""

from __future__ import annotations

from ferry.receipts.receipt import RECEIPT_COLUMNS
from ferry.summaries.publications import new_receipt_of, select_new_receipts


def test_what_a_summary_has_to_take_in_is_read_without_the_receipts_long_texts() -> None:
    """A new summary takes in all that ever landed in its tables: years of receipts."""
    names = select_new_receipts("raw.orders", "mart.daily").sql.partition(" FROM ")[0]
    long = {"sums_read", "sums_staged", "columns_carried"}
    read = [each.name for each in RECEIPT_COLUMNS if each.name not in long]
    assert names == "SELECT " + ", ".join(f'"{name}"' for name in read)
    receipt = new_receipt_of(tuple(read))
    assert all(getattr(receipt, name) == name for name in read)
    assert all(getattr(receipt, name) is None for name in long)
