"""Why something failed is told with its code, and without the text of what is not ours."""

from __future__ import annotations

import ast
import pickle
import re
import traceback
from functools import cache
from pathlib import Path

import pytest

from ferry import errors
from ferry.errors import AccessError, FerryError, SchemaError, SpecError, UnknownError
from ferry.reasons import explained, reason_of
from ferry.specs.tables_file import parse_table_specs

VALUE = "p1anted-value"


class DriverError(Exception):
    """As drivers have them: its text holds a value."""


def failed(ours: FerryError | None) -> Exception:
    """What a driver raised, out of another of its errors, as it left or turned into ours."""
    try:
        try:
            try:
                raise ValueError(VALUE)
            except ValueError:
                raise DriverError(f"duplicate key {VALUE}") from KeyError(VALUE)
        except DriverError as error:
            if ours:
                raise ours from error
            raise
    except Exception as error:  # noqa: BLE001
        return error


@pytest.mark.parametrize("ours", [None, AccessError("refused")], ids=["as it left", "as ours"])
def test_the_text_of_what_is_not_ours_is_neither_in_the_error_nor_in_its_traceback(
    ours: FerryError | None,
):
    error = failed(ours)
    told = explained(error)
    printed = "".join(traceback.format_exception(told))
    assert VALUE not in printed + str(told) + repr(told)
    for kind in ("DriverError", "KeyError"):
        assert kind in printed
    assert "in failed" in printed  # where it happened
    assert told is ours or isinstance(told, UnknownError)


def test_an_unknown_error_says_the_class_that_was_met_and_where_to_look():
    told = explained(DriverError(VALUE)).at(table="raw_data.nps", window="2023-01-05", step="copy")
    assert reason_of(told) == (
        "FERRY-UNKNOWN: copy raw_data.nps 2023-01-05: failed in a way that Ferry does not know: "
        "DriverError. The run's log has the traceback, without the text of the error: it may hold "
        "values."
    )


def test_a_reason_has_the_code_and_the_block():
    error = SchemaError("there is no table 'nps'", block="mysql-source/billing")
    error.at(table="raw_data.nps", window="2023-01-05", step="extract", block="redshift/other")
    assert reason_of(error) == (
        "FERRY-SCHEMA: extract raw_data.nps 2023-01-05 at mysql-source/billing: "
        "there is no table 'nps'"
    )
    assert reason_of(DriverError(VALUE)) == "FERRY-UNKNOWN: DriverError, see the run's log"


def test_an_error_in_a_circle_of_causes_is_told():
    error, other = DriverError(VALUE), DriverError(VALUE)
    error.__cause__, other.__cause__ = other, error
    assert VALUE not in "".join(traceback.format_exception(explained(error)))


def test_errors_inside_a_group_are_not_told():
    group = ExceptionGroup(VALUE, [DriverError(VALUE)])
    assert VALUE not in "".join(traceback.format_exception(explained(group)))


def test_the_code_stands_first_and_once_however_long_the_message_is():
    long = "x" * 100_000
    error = SchemaError(long, table="raw_data.nps", found=long, todo=long)
    assert str(error).startswith("FERRY-SCHEMA: raw_data.nps: xxx")
    assert str(error).count("FERRY-") == 1
    assert str(error) == f"FERRY-SCHEMA: {error.message}"
    assert reason_of(error) == str(error)


def test_a_code_survives_being_sent_to_another_process():
    error = pickle.loads(pickle.dumps(SchemaError("no table").at(step="extract")))
    assert str(error) == "FERRY-SCHEMA: extract: no table"


def test_a_message_that_quotes_an_error_has_one_code():
    text = "tables: {nps: {source: shop, mode: full, zone: Mars/Base}}"
    with pytest.raises(SpecError) as caught:
        parse_table_specs(text, "tables.yaml")
    assert "there is no time zone 'Mars/Base'" in str(caught.value)
    assert CODE.findall(str(caught.value)) == ["FERRY-SPEC"]


ROOT = Path(__file__).parents[2]
ROOMS = ("ferry", "blocks", "tasks", "flows", "deployments")
NEVER_RAISED = {"FerryError", "RetriableError"}
CAUGHT_BY_THE_SOURCE = {"SymbolError"}
"""The price source tells its symbols in an error of another class, or in a receipt."""
CODE = re.compile(r"\bFERRY-[A-Z]+\b")


def names_in(nodes: list[ast.expr]) -> set[str]:
    """The names of classes, also where they are written with their module."""
    named = {each.id for each in nodes if isinstance(each, ast.Name)}
    return named | {each.attr for each in nodes if isinstance(each, ast.Attribute)}


def own_code(node: ast.ClassDef) -> str | None:
    """What the class itself says that its code is."""
    for each in node.body:
        if isinstance(each, ast.Assign) and names_in(each.targets) == {"code"}:
            return ast.literal_eval(each.value)
    return None


@cache
def read_rooms() -> list[ast.AST]:
    """Every part of every module."""
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    return [node for file in files for node in ast.walk(ast.parse(file.read_text()))]


def codes() -> dict[str, str | None]:
    """Each class of error that reaches a person, wherever it is defined, with its own code."""
    classes = [node for node in read_rooms() if isinstance(node, ast.ClassDef)]
    ours, before = {"FerryError"}, set[str]()
    while ours != before:
        before = ours
        ours = ours | {each.name for each in classes if names_in(each.bases) & ours}
    raised = ours - NEVER_RAISED - CAUGHT_BY_THE_SOURCE
    return {each.name: own_code(each) for each in classes if each.name in raised}


def runbook_sections() -> dict[str, str]:
    """What the runbook says under each heading that is a code, within the section of the codes."""
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    section = runbook.partition("\n## Codes\n")[2].partition("\n## ")[0]
    parts = re.split(r"^### (.*)$", section, flags=re.MULTILINE)[1:]
    assert len(set(parts[::2])) == len(parts[::2]), "two headings of one code"
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_class_of_error_is_in_the_tree_and_in_the_runbook():
    told, sections = codes(), runbook_sections()
    assert {"SchemaError", "StoppedError", "SpecError"} <= set(
        told
    )  # also of other files, and deep
    for kind, code in told.items():
        assert code, f"{kind} has no code of its own"
        assert CODE.fullmatch(code), code
        assert code in sections, f"the runbook has no heading for {code}"
        assert f"`{kind}`" in sections[code], f"{kind} is not named under {code}"
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    for each in kinds:
        if issubclass(each, FerryError) and each is not FerryError:
            assert f" {each.__name__}" in errors.__doc__
    assert len(set(told.values())) == len(told), "two classes have one code"
    assert set(sections) == set(told.values()), "a heading is no error's"


def test_no_code_is_the_beginning_of_another_which_a_search_would_find_too():
    told = sorted(str(code) for code in codes().values())
    assert not [(a, b) for a in told for b in told if a != b and b.startswith(a)]


def test_the_runbook_says_of_each_code_whether_a_retry_helps_and_what_comes_first():
    for code, text in runbook_sections().items():
        for point in ("- Ferry has", "- A retry", "- First"):
            assert text.count(f"\n{point}") == 1, (code, point)


def test_what_has_no_code_of_its_own_is_never_raised():
    calls = [node.func for node in read_rooms() if isinstance(node, ast.Call)]
    assert not names_in(calls) & NEVER_RAISED
    assert "FatalError" in names_in(calls)
