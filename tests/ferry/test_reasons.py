"""Why something failed is told with its class, and without the text of what is not ours."""

from __future__ import annotations

import traceback

import pytest

from ferry import errors
from ferry.errors import AccessError, FerryError, SchemaError, UnknownError
from ferry.reasons import explained, reason_of

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


def test_an_unknown_error_says_its_class_and_where_to_look():
    told = explained(DriverError(VALUE)).at(table="raw_data.nps", window="2023-01-05", step="copy")
    assert reason_of(told) == (
        "UnknownError: copy raw_data.nps 2023-01-05: failed in a way that Ferry does not know: "
        "DriverError. The run's log has the traceback, without the text of the error: it may hold "
        "values."
    )


def test_a_reason_has_the_class_and_the_block():
    error = SchemaError("there is no table 'nps'", block="mysql-source/billing")
    error.at(table="raw_data.nps", window="2023-01-05", step="extract", block="redshift/other")
    assert reason_of(error) == (
        "SchemaError: extract raw_data.nps 2023-01-05 at mysql-source/billing: "
        "there is no table 'nps'"
    )
    assert reason_of(DriverError(VALUE)) == "DriverError, see the run's log"


def test_an_error_in_a_circle_of_causes_is_told():
    error, other = DriverError(VALUE), DriverError(VALUE)
    error.__cause__, other.__cause__ = other, error
    assert VALUE not in "".join(traceback.format_exception(explained(error)))


def test_errors_inside_a_group_are_not_told():
    group = ExceptionGroup(VALUE, [DriverError(VALUE)])
    assert VALUE not in "".join(traceback.format_exception(explained(group)))


def test_every_class_of_error_is_in_the_tree_and_in_the_runbook():
    from pathlib import Path

    runbook = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()
    table = runbook.partition("| the error is |")[2].partition("\n\n")[0]
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    for kind in kinds:
        if issubclass(kind, FerryError):
            assert f" {kind.__name__}" in errors.__doc__ or kind is FerryError
            if kind not in (FerryError, errors.RetriableError):
                assert f"`{kind.__name__}`" in table, kind.__name__
