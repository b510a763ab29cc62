"""A receipt's page: what a source calls its columns is text, and what is not known is left out."""

from dataclasses import replace

import pytest

from tasks.pages import receipt as page
from tests.harness.told_days import receipt


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages that were made."""
    shown: list[str] = []
    monkeypatch.setattr(
        page, "create_markdown_artifact", lambda markdown, **_: shown.append(markdown)
    )
    return shown


def test_a_column_s_name_is_no_markdown(shown: list[str]) -> None:
    name = "![x](https://example.com/p.png) `<b>"
    page.show_receipt(replace(receipt(None), cursor_name=name))
    (markdown,) = shown
    assert "![x](" not in markdown and "<b>" not in markdown
    assert "example.com" in markdown


def test_a_count_that_an_older_ferry_did_not_keep_is_left_out(
    shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the fields that may be None, one stands for a count that receipts gain later.
    monkeypatch.setattr(page, "SHOWN_COUNTS", ("rows_extracted", "source_snapshot"))
    page.show_receipt(replace(receipt(None), source_snapshot=None))
    (markdown,) = shown
    assert "| extracted |" in markdown and "| source_snapshot |" not in markdown
