"""What is said of a constraint that no server of the tests refuses by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from blocks.postgres.target_rules import explain_constraint


def test_postgresql_18_has_a_code_of_its_own_for_rows_that_a_restrict_keeps() -> None:
    diag: Any = SimpleNamespace(
        schema_name="lab", table_name="child", constraint_name="c", column_name=None
    )
    said = 'update or delete on table "t" violates RESTRICT setting of foreign key constraint "c"'
    explained = explain_constraint("23001", said, diag, "DELETE FROM t")
    assert explained is not None
    assert 'ALTER TABLE "lab"."child" ALTER CONSTRAINT "c" DEFERRABLE' in explained[1]
    assert "RESTRICT" in explained[1]


def test_what_has_no_such_fields_has_no_explanation() -> None:
    diag: Any = SimpleNamespace(
        schema_name=None, table_name=None, constraint_name=None, column_name=None
    )
    for code in ("23502", "23503", "23505", "23514"):
        assert explain_constraint(code, "violates", diag, "INSERT INTO t") is None
