"""A receipt's page: what a source calls its columns is text there, and nothing else."""

from dataclasses import replace

import pytest

from tasks.pages import receipt as page
from tests.harness.told_days import receipt


def test_a_column_s_name_is_no_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(
        page, "create_markdown_artifact", lambda markdown, **_: shown.append(markdown)
    )
    name = "![x](https://example.com/p.png) `<b>"
    page.show_receipt(replace(receipt(None), cursor_name=name))
    (markdown,) = shown
    assert "![x](" not in markdown and "<b>" not in markdown
    assert "example.com" in markdown
