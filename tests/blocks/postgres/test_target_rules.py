"""What is said of a constraint that no server of the tests refuses by."""

# ruff: noqa: RUF001 - the letters of other languages

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from blocks.postgres.target_rules import explain_constraint, explain_raised


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


@pytest.mark.parametrize(
    ("context", "named"),
    [
        ("PL/pgSQL function lab.guard() line 3 at RAISE", "lab.guard()"),
        ('PL/pgSQL function "my lab"."a ""guard"""() line 3 at RAISE', '"my lab"."a ""guard"""()'),
        ('PL/pgSQL function guard(integer,"my type") during function entry', "guard(integer,"),
        ("PL/pgSQL-Funktion lab.guard() Zeile 3 bei RAISE", "lab.guard()"),
        ("fonction PL/pgSQL lab.guard(), ligne 3 à RAISE", "lab.guard()"),
        ("PL/pgSQL関数lab.guard()の3行目 - RAISE", " lab.guard()"),
        ("lab.guard() PL/pgSQL fonksiyonu, 3. satır, RAISE içinde", "lab.guard()"),
        *(
            (f"{statement}\nPL/pgSQL function lab.guard() line 3 at EXECUTE", "lab.guard()")
            for statement in (
                "SQL statement \"INSERT INTO audit VALUES('s3cret')\"",
                "SQL statement \"SELECT log_change('s3cret', 5)\"",
                'SQL statement "SELECT \'s3cret"(x)\'"',
                "SQL statement \"SELECT 'a\nPL/pgSQL function s3cret(s3cret) line 3\nb'\"",
                "SQL-Anweisung »INSERT INTO audit(s3cret) VALUES('s3cret')«",
            )
        ),
        # What runs a function of another language, or in C, ends with no such line.
        ('SQL statement "SELECT log_change(\'s3cret\', 5)"\nPL/Perl function "guard"', ""),
        ("SQL statement \"SELECT 'a\nPL/pgSQL function s3cret(s3cret) line 3'\"", ""),
        ('no s3cret(s3cret)\n    while executing\n"error …"\nin PL/Tcl function "guard"', ""),
        ("", ""),
    ],
)
def test_the_function_that_raised_it_is_named_and_no_value_of_what_it_ran(
    context: str, named: str
) -> None:
    diag: Any = SimpleNamespace(context=context, source_file="aclchk.c")
    problem, todo = explain_raised("42P10", diag)
    assert f"the function {named.strip()}" in problem if named else "function or trigger" in problem
    assert "s3cret" not in problem + todo


def test_a_right_that_a_function_misses_is_not_what_it_raised_itself() -> None:
    missing: Any = SimpleNamespace(context="", source_file="aclchk.c")
    assert "SECURITY DEFINER" in explain_raised("42501", missing)[1]
    raised: Any = SimpleNamespace(context="", source_file="pl_exec.c")
    assert "Correct the rows" in explain_raised("42501", raised)[1]
