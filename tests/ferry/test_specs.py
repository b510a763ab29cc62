import json

import pytest

from ferry.errors import RequestError, SpecError
from ferry.specs import parse_table_specs, tables_json_schema

GOOD = """\
defaults:
  source: shop
  schema: raw_data
tables:
  nps:
    mode: window
    key: [id]
    cursor: created_at
  orders:
    mode: full
    source_table: prod.orders
"""


def test_adding_a_table_takes_five_lines():
    specs = parse_table_specs(GOOD, "tables.yaml")
    nps = specs.named("nps")
    assert (str(nps.target), nps.source, nps.mode) == ("raw_data.nps", "shop", "window")
    assert (nps.retries, nps.retry_delay_seconds) == (1, 180)
    assert str(specs.named("raw_data.orders").source_name) == "prod.orders"
    assert str(nps.source_name) == "nps"


def broken(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (broken("cursor:", "curser:"), "tables.yaml:8: tables.nps.curser: Extra inputs"),
        (broken("    mode: window\n", ""), "tables.yaml:5: tables.nps.mode: Field required"),
        (broken("mode: window", "mode: windows"), "tables.yaml:6: tables.nps.mode: Input should"),
        (broken("    key: [id]\n", ""), "tables.yaml:5: tables.nps: mode window needs a key"),
        (broken("defaults:", "default:"), "tables.yaml:1: default: Extra inputs"),
        (broken("schema: raw_data", "scheme: raw_data"), "tables.yaml:3: tables.nps.scheme"),
        (broken("  source: shop\n", ""), "tables.nps.source: Field required"),
        (broken("  nps:", "  'n\"; DROP TABLE x; --':"), "a name in the warehouse is lower-case"),
        (broken("prod.orders", '"prod.o`; DROP"'), "has no quotes, semicolons"),
        (broken("cursor: created_at", "zone: Mars/Base"), "there is no time zone 'Mars/Base'"),
        (broken("  orders:", "  nps:"), "tables.yaml:9: nps stands there twice"),
        (broken("key: [id]", "key: [id"), "tables.yaml:8: not readable as YAML"),
        (broken("cursor: created_at", "start_date: 2023-02-30"), "tables.yaml:8: not readable"),
        (broken("schema: raw_data", "schema: ferry"), "tables.yaml:3: tables.nps.schema: the sch"),
        ("- a list", "tables.yaml:1"),
        ("", "tables.yaml:1"),
    ],
)
def test_a_misspelled_spec_is_refused_with_file_line_and_field(text: str, message: str):
    with pytest.raises(SpecError) as caught:
        parse_table_specs(text, "tables.yaml")
    assert message in str(caught.value)


def test_an_unknown_table_is_refused_with_the_known_ones():
    with pytest.raises(RequestError, match=r"no table 'npss'.*one of nps, orders"):
        parse_table_specs(GOOD, "tables.yaml").named("npss")


def test_the_json_schema_knows_every_field_and_forbids_others():
    schema = tables_json_schema()
    table = schema["properties"]["tables"]["additionalProperties"]["anyOf"][0]
    assert {"mode", "key", "cursor", "schema"} <= set(table["properties"])
    assert table["additionalProperties"] is False
    json.dumps(schema)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tables: {nps: {modes: full}}", "mode"),
        ("tables: {nps: {mode: windw, key: [id]}}", "window"),
        ("tables: {nps: {mode: window, keys: [id]}}", "key"),
        ("tables: {nps: {mode: full, curser: id}}", "cursor"),
        ("tables: {nps: {mode: full, null_cursors: ignroe}}", "ignore"),
    ],
)
def test_a_misspelled_field_or_word_says_which_was_meant(text: str, meant: str) -> None:
    with pytest.raises(SpecError, match=rf"did you mean {meant}\?"):
        parse_table_specs(text, "tables.yaml")
