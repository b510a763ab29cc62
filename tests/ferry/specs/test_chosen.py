"""Which tables a run was asked for: each once, all of them, or a refusal."""

import json
from contextlib import suppress

import pytest

from ferry.errors import RequestError
from ferry.specs.chosen import are_all, asked_as, chosen_specs, may_write, some_names
from ferry.specs.tables_file import parse_table_specs

NAMES = ["nps", "orders", "visits", "users", "prices", "refunds"]
SPECS = parse_table_specs(
    "defaults: {source: shop, stage: lake, warehouse: dwh, mode: full, schema: raw_data}\n"
    "tables:\n" + "".join(f"  {name}: {{}}\n" for name in NAMES),
    "tables.yaml",
)


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("nps", ["nps"]),
        ("raw_data.nps", ["nps"]),
        (["orders", "nps"], ["orders", "nps"]),
        (["nps", "raw_data.nps", "nps"], ["nps"]),
        ("all", NAMES),
        (["all"], NAMES),
        (["nps", "all"], NAMES),
    ],
)
def test_each_table_that_is_asked_for_is_taken_once(asked: str | list[str], names: list[str]):
    assert [spec.name for spec in chosen_specs(SPECS, asked)] == names
    assert are_all(asked) == (names == NAMES)


@pytest.mark.parametrize("name", ["all", "true", "false", "null", "nps"])
def test_a_table_of_any_name_can_be_asked_for_alone(name: str) -> None:
    text = "tables: {{'{}': {{source: shop, mode: full}}, other: {{source: shop, mode: full}}}}"
    specs = parse_table_specs(text.format(name), "tables.yaml")
    asked = asked_as(specs[name])
    with suppress(ValueError):  # as Prefect's command line takes a parameter
        asked = json.loads(asked)
    assert [spec.name for spec in chosen_specs(specs, asked)] == [name]
    assert (asked_as(specs[name]) == name) is (name == "nps")


@pytest.mark.parametrize(
    ("asked", "named"),
    [("nps", True), (["all", "raw_data.nps"], True), ("all", False), (["orders"], False)],
)
def test_what_another_tool_may_fill_is_written_only_by_its_own_name(
    asked: str | list[str], named: bool
):
    assert may_write(SPECS["nps"].model_copy(update={"every": "never"}), asked) is named
    assert may_write(SPECS["nps"], asked)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ([], "no table is named"),
        ("", "no table is named"),
        (["npz"], "no table 'npz'"),
        (["all", "npz"], "no table 'npz'"),
    ],
)
def test_no_table_and_one_that_is_not_there_are_refused(asked: str | list[str], problem: str):
    with pytest.raises(RequestError, match=problem):
        chosen_specs(SPECS, asked)
    if not asked:
        with pytest.raises(RequestError, match="the parameter `tables`"):
            chosen_specs(SPECS, asked, "tables")


@pytest.mark.parametrize(
    "text", ["nps,orders", "nps, orders,", '["nps", "orders"]', "['nps','orders']", ["nps,orders"]]
)
def test_several_tables_in_one_text_are_told_how_a_list_is_written(text: str | list[str]):
    with pytest.raises(RequestError, match="is one text") as refused:
        chosen_specs(SPECS, text)
    assert """--param 'table=["nps", "orders"]'""" in str(refused.value)
    with pytest.raises(RequestError, match="--param 'tables="):
        chosen_specs(SPECS, text, "tables")
    with pytest.raises(RequestError, match=r'tables as a list, \["all", "nps"\]'):
        chosen_specs(SPECS, "all,nps")


def test_the_name_of_a_run_has_some_of_its_tables():
    assert some_names("nps") == "nps"
    assert some_names(NAMES) == "nps, orders, visits, users, prices, and 1 more"
