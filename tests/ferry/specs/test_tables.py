import json
from datetime import date

import pytest
import yaml

from ferry.errors import RequestError, SpecError
from ferry.specs.json_schema import tables_json_schema
from ferry.specs.tables_file import parse_table_specs

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
        (broken("mode: window", "mode: windows"), "tables.yaml:6: tables.nps.mode: expected one"),
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
        (
            broken("cursor: created_at", "exclude: [ID]"),
            "tables.yaml:8: tables.nps.exclude: `k",
        ),
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


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tables:\n  b: {source: shop, mode: full, name: c}", "tables.yaml:2: tables.b.name"),
        (
            "defaults: {source: shop, name: c}\ntables: {b: {mode: full}}",
            "tables.yaml:1: defaults.name",
        ),
    ],
)
def test_a_name_beside_the_one_that_a_table_stands_under_is_refused(text: str, place: str) -> None:
    """Who means to move a table by it would go on writing the one that there is."""
    with pytest.raises(SpecError) as caught:
        parse_table_specs(text, "tables.yaml")
    assert f"{place}: not a field: a table's name is what it stands under" in str(caught.value)


def test_the_name_that_a_table_stands_under_may_stand_in_it_and_is_not_among_the_fields() -> None:
    text = "tables: {{b: {{source: shop, mode: full, name: b{}}}}}"
    assert parse_table_specs(text.format(""), "tables.yaml")["b"].name == "b"
    shared = "tables:\n  a: &a {source: shop, mode: full, name: a}\n  b: {<<: *a}\n"
    assert parse_table_specs(shared, "tables.yaml")["b"].name == "b"
    with pytest.raises(SpecError, match="Known fields: source, source_table, "):
        parse_table_specs(text.format(", curser: id"), "tables.yaml")


WRONG_VALUES = {
    "key: id": "key: expected a list, `key: [id]`",
    "key: [id, Id]": "key: a column stands there twice",
    "key:": "key: expected a list, `key: […]`",
    "every: hourly": "every: expected one of hour, day, never; did you mean hour?",
    "exclude: note": "exclude: expected a list, `exclude: [note]`",
    "zero_dates: nil": "zero_dates: expected one of error, null",
    "settle: soon": "settle: Input should be a valid integer",
    "start_date: 0": "start_date: 0 is no day: write a day as 2026-01-05",
    "start_date: 20230105": "start_date: 20230105 is no day: write a day as",
    "start_date: '1672876800'": "start_date: '1672876800' is no day: write a day as",
    "start_date: 2023-01-05 06:00:00": "start_date: 2023-01-05 06:00:00 is a moment within",
}


@pytest.mark.parametrize("in_defaults", [False, True])
@pytest.mark.parametrize(("line", "told"), WRONG_VALUES.items())
def test_a_wrong_value_is_told_at_its_own_line_with_what_is_expected(
    line: str, told: str, in_defaults: bool
) -> None:
    own, shared = ("", f"  {line}\n") if in_defaults else (f"    {line}\n", "")
    text = f"defaults:\n  source: shop\n{shared}tables:\n  t:\n    mode: watermark\n{own}"
    number = text.splitlines().index(f"{'  ' if in_defaults else '    '}{line}") + 1
    with pytest.raises(SpecError) as caught:
        parse_table_specs(text, "tables.yaml")
    assert f"tables.yaml:{number}: tables.t.{told}" in str(caught.value)
    assert "Known fields" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "number"),
    [("01", "1"), ("010", "8"), ("0x1F", "31"), ("12:30:45", "45045"), ("1.0", "1.0")],
)
def test_a_value_that_yaml_takes_for_another_number_is_refused(written: str, number: str) -> None:
    """As a text, `01` marks rows as deleted that the number 1 does not."""
    text = (
        "tables:\n  t:\n    source: shop\n    mode: full\n    key: [id]\n    soft_deletes: apply\n"
        "    deleted_values: [{}]\n"
    )
    with pytest.raises(SpecError) as caught:
        parse_table_specs(text.format(written), "tables.yaml")
    assert caught.value.problem == (
        f"tables.yaml:7: {written} is no text to YAML, but the number {number}"
    )
    quoted = parse_table_specs(text.format(f"'{written}', 1, 0, -20"), "tables.yaml")
    assert quoted.named("t").deleted_values == (written, 1, 0, -20)


@pytest.mark.parametrize(
    "written", ["2023-01-05", "'2023-01-05'", "'20230105'", "2023-01-05 00:00:00"]
)
def test_the_first_day_is_taken_as_it_is_written(written: str) -> None:
    spec = parse_table_specs(of_window(f"start_date: {written}"), "tables.yaml")["t"]
    assert spec.start_date == date(2023, 1, 5)


def of_window(line: str) -> str:
    return f"tables:\n  t:\n    source: shop\n    mode: window\n    key: [id]\n    {line}\n"


@pytest.mark.parametrize(
    ("written", "number"), [("24:00", "1440"), ("0100", "64"), ("010", "8"), ("1:0:0:0", "216000")]
)
def test_a_field_s_number_that_yaml_takes_for_another_is_refused(written: str, number: str) -> None:
    """24 hours of `lookback` would be 24 minutes, and rows that commit an hour late be lost."""
    with pytest.raises(SpecError) as caught:
        parse_table_specs(of_window(f"lookback: {written}"), "tables.yaml")
    assert caught.value.problem == (
        f"tables.yaml:6: lookback: {written} is the number {number} to YAML"
    )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("86400", 86_400), ("86_400", 86_400), ("3600.0", 3600), ("24:00:00", 86_400), ("00", 0)],
)
def test_a_number_that_is_what_is_written_is_taken(written: str, seconds: int) -> None:
    specs = parse_table_specs(of_window(f"lookback: {written}"), "tables.yaml")
    assert specs["t"].lookback == seconds


def test_a_time_of_the_day_without_quotes_is_told_so() -> None:
    with pytest.raises(SpecError, match=r"due: 12:30 is the number 750 .* in quotes"):
        parse_table_specs(of_window("due: 12:30"), "tables.yaml")


NUMBERS = (
    *("settle", "lookback", "lag", "audit_days", "max_delete_percent", "max_shrink_percent"),
    *("part_size_mb", "batch_rows", "resume_rows", "insert_rows", "keep_staged_days"),
    *("retries", "retry_delay_seconds"),
)


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("word", ["yes", "on", "true"])
def test_yes_is_no_number(field: str, word: str) -> None:
    with pytest.raises(SpecError, match=rf"tables.yaml:6: tables.t.{field}: .*write a number"):
        parse_table_specs(of_window(f"{field}: {word}"), "tables.yaml")


def test_every_field_of_numbers_refuses_yes_and_no_is_none_of_them() -> None:
    properties = tables_json_schema()["properties"]["defaults"]["properties"]
    kinds = {name: [each, *each.get("anyOf", ())] for name, each in properties.items()}
    numbers = {n for n, each in kinds.items() if any(k.get("type") == "integer" for k in each)}
    assert numbers - {"read_ranges"} == set(NUMBERS)  # which says itself what it takes
    for field in NUMBERS:
        if field != "part_size_mb":
            spec = parse_table_specs(of_window(f"{field}: no"), "tables.yaml")["t"]
            assert getattr(spec, field) == 0


def test_the_types_that_a_value_may_have_are_told_together() -> None:
    text = (
        "tables:\n  t:\n    source: shop\n    mode: full\n    key: [id]\n    soft_deletes: apply\n"
        "    deleted_values: [Y, 1.5]\n"
    )
    with pytest.raises(SpecError) as caught:
        parse_table_specs(text, "tables.yaml")
    assert caught.value.problem == (
        "tables.yaml:7: tables.t.deleted_values.1: Input should be a valid string; or Input should "
        "be a valid integer, got a number with a fractional part"
    )


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("key", {"exclude": ["ID"]}),
        ("cursor", {"cursor": "At", "exclude": ["at"]}),
        ("version", {"version": "v", "exclude": ["note", "v"]}),
        ("deleted_column", {"soft_deletes": "apply", "exclude": ["deleted"]}),
        ("sort_key", {"sort_key": ["day"], "exclude": ["day"]}),
        ("dist_key", {"dist_key": "day", "exclude": ["day"]}),
    ],
)
def test_what_other_fields_need_cannot_be_excluded(field: str, fields: dict[str, object]) -> None:
    spec = {"source": "shop", "mode": "window", "key": ["id"], **fields}
    text = yaml.safe_dump({"tables": {"t": spec}}, sort_keys=False)
    line = next(n for n, each in enumerate(text.splitlines(), 1) if "exclude" in each)
    with pytest.raises(SpecError) as caught:
        parse_table_specs(text, "tables.yaml")
    assert f"tables.yaml:{line}: tables.t.exclude: `{field}` needs the column" in str(caught.value)


WINDOW, WATERMARK = "mode: window, key: [id]", "mode: watermark"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (f"{WATERMARK}, settle: 600", "settle: is for windows; .* by `lag`. Set `lag`"),
        (f"{WINDOW}, lag: 600", "lag: is for watermarks; .* `settle` and `lookback`"),
        (
            f"{WINDOW}, lag: 600, every: hour",
            "lag: .* Set `lookback`, or a `settle` of at least 600",
        ),
        (f"{WINDOW}, lag: 600, settle: 300", "lag: .* `settle` of at least 600, or leave"),
        (f"{WINDOW}, lag: 86401", "lag: .* Set `lookback`, or leave `lag` out"),
    ],
)
def test_what_is_for_late_rows_of_another_mode_is_refused(fields: str, told: str) -> None:
    """Nothing looks at it: rows that commit later than nothing at all are lost."""
    with pytest.raises(SpecError, match=rf"tables.yaml:3: tables.t.{told}"):
        parse_table_specs(f"defaults: {{source: shop}}\ntables:\n  t: {{{fields}}}", "tables.yaml")


@pytest.mark.parametrize(
    "fields",
    [
        f"{WATERMARK}, settle: 600, lag: 600",  # what a backfill makes of it is windows
        f"{WATERMARK}, settle: 0",
        f"{WINDOW}, lag: 600, settle: 600",
        f"{WINDOW}, lag: 600, lookback: 3600",
        f"{WINDOW}, lag: 600, audit_days: 3",
        f"{WINDOW}, lag: 60, every: hour",  # which waits for 300
        f"{WINDOW}, lag: 0",
        "mode: full, lag: 600, settle: 600",  # the next copy has them
    ],
)
def test_beside_what_its_mode_looks_at_it_may_stand(fields: str) -> None:
    text = f"defaults: {{source: shop}}\ntables:\n  t: {{{fields}}}"
    assert parse_table_specs(text, "tables.yaml")["t"].source == "shop"


def test_what_is_for_late_rows_may_be_shared_by_tables_of_both_modes() -> None:
    text = (
        "defaults: {{source: shop{}}}\ntables:\n"
        "  a: &late {{mode: window, key: [id], settle: 600}}\n"
        "  b: {{<<: *late, mode: watermark}}\n"
    )
    assert parse_table_specs(text.format(", lag: 900"), "tables.yaml")["a"].lag == 900
    assert parse_table_specs(text.format(""), "tables.yaml")["b"].settle == 600


def test_a_mark_that_is_carried_over_can_be_left_out() -> None:
    text = "tables: {t: {source: shop, mode: window, key: [id], exclude: [deleted]}}"
    assert parse_table_specs(text, "tables.yaml")["t"].exclude == ("deleted",)


@pytest.mark.parametrize("written", ["null", '"null"', "~"])
def test_zero_dates_become_null_as_everybody_writes_it(written: str) -> None:
    text = f"tables: {{t: {{source: shop, mode: full, zero_dates: {written}}}}}"
    assert parse_table_specs(text, "tables.yaml")["t"].zero_dates == "null"


def test_zero_dates_without_a_word_that_come_by_a_merge_are_refused() -> None:
    text = (
        "tables:\n  a: &a\n    source: shop\n    mode: full\n    zero_dates: {}\n  b: {{<<: *a}}\n"
    )
    with pytest.raises(SpecError, match=r"tables.a.zero_dates: expected one of"):
        parse_table_specs(text.format(""), "tables.yaml")
    assert parse_table_specs(text.format("error"), "tables.yaml")["b"].zero_dates == "error"
    merged = "tables:\n  t: {<<: [{mode: full}, {zero_dates: }], source: shop}\n"
    with pytest.raises(SpecError, match=r"tables.t.zero_dates: expected one of"):
        parse_table_specs(merged, "tables.yaml")


@pytest.mark.parametrize("place", ["tables.t", "defaults"])
def test_zero_dates_without_a_word_after_it_are_refused(place: str) -> None:
    blank, more = ("\n    zero_dates:", "") if place == "tables.t" else ("", "\n  zero_dates:")
    text = f"defaults:\n  source: shop{more}\ntables:\n  t:\n    mode: full{blank}\n"
    with pytest.raises(SpecError, match=rf"{place}.zero_dates: expected one of error, null"):
        parse_table_specs(text, "tables.yaml")
