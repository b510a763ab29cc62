"""What receipts tell of how their rows were read, beside what the spec says now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ferry.errors import DataError
from ferry.receipts.read_as import (
    PastReading,
    read_as,
    read_otherwise,
    refuse_rows_of_others,
    replaced_others,
)
from ferry.schema import Column, DataType, Kind
from ferry.specs.tables import Mode, TableSpec

JUNE = datetime(2023, 6, 1, tzinfo=UTC)


def spec(**told: Any) -> TableSpec:
    wanted: dict[str, Any] = {"name": "people", "source": "shop", "mode": "watermark", **told}
    return TableSpec.model_validate(wanted)


def by_id(**told: Any) -> TableSpec:
    return spec(key=["id"], **told)


def reading(
    table: TableSpec, hour: int, mode: Mode = "window", cursor: str | None = "modified"
) -> PastReading:
    at = JUNE + timedelta(hours=hour)
    return PastReading(read_as(table, mode, Kind.TIMESTAMP), cursor, mode, "loaded", at, at)


def test_rows_of_another_zone_have_replaced_no_others_and_those_of_another_key_have() -> None:
    in_seoul = read_as(by_id(source_zone="Asia/Seoul"), "window", Kind.TIMESTAMP)
    assert "source_zone" in read_otherwise(in_seoul, by_id())
    assert not replaced_others(in_seoul, by_id())
    assert replaced_others(in_seoul, spec(key=["code"]))


def test_another_version_than_then_decides_also_where_the_cursor_is_known() -> None:
    text = read_as(by_id(), "window", Kind.TIMESTAMP)
    assert "version" in read_otherwise(text, by_id(version="revision"), cursor="modified")
    assert read_otherwise(text, by_id(version="Modified"), cursor="modified") == ""


def test_the_order_of_keys_and_of_marks_decides_nothing() -> None:
    marks = {"soft_deletes": "apply", "deleted_values": ["Y", "D"]}
    text = read_as(spec(key=["id", "shop"], **marks), "window", None)
    marks["deleted_values"] = ["D", "Y"]
    assert read_otherwise(text, spec(key=["shop", "id"], **marks)) == ""


def test_the_source_s_zone_decides_of_days_as_of_wall_clocks() -> None:
    in_seoul = by_id(source_zone="Asia/Seoul")
    for kind in (Kind.DATE, Kind.TIMESTAMP):
        assert "source_zone" in read_otherwise(read_as(by_id(), "window", kind), in_seoul)


def test_rows_of_another_table_are_refused_unless_a_full_copy_has_replaced_them() -> None:
    of_other = reading(by_id(source_table="persons"), 1)
    for hour, refused in ((0, True), (2, False)):
        copy = reading(by_id(), hour, "full", None)
        for landed in ([of_other, copy], [copy, of_other]):
            if refused:
                with pytest.raises(DataError, match="of another source table"):
                    refuse_rows_of_others(landed, by_id(), "window", "modified", ())
            else:
                refuse_rows_of_others(landed, by_id(), "window", "modified", ())
    refuse_rows_of_others([of_other], by_id(), "full", None, ())


def test_rows_without_a_key_are_refused_beside_a_key_and_beside_another_cursor() -> None:
    keyless = reading(spec(), 1, "watermark")
    with pytest.raises(DataError, match="carried without a key"):
        refuse_rows_of_others([keyless], by_id(), "watermark", "modified", ())
    older = replace(keyless, read_as=None)
    refuse_rows_of_others([older], by_id(), "watermark", "modified", ())
    refuse_rows_of_others([keyless], spec(), "watermark", "Modified", ())
    with pytest.raises(DataError, match="read by another cursor, and has no key"):
        refuse_rows_of_others([keyless], spec(), "watermark", "created", ())
    refuse_rows_of_others([reading(by_id(), 1)], by_id(), "window", "created", ())


def test_a_key_that_is_written_otherwise_is_refused_and_a_new_one_of_numbers_is_not() -> None:
    code, uuid = (
        Column("code", DataType(Kind.TEXT), spelled=spelled) for spelled in ("char", "uuid")
    )
    text = read_as(spec(key=["code"]), "window", Kind.TIMESTAMP, [code])
    landed = [replace(reading(spec(key=["code"]), 1), read_as=text)]
    refuse_rows_of_others(landed, spec(key=["code"]), "window", "modified", [code])
    with pytest.raises(DataError, match="whose key the source wrote otherwise"):
        refuse_rows_of_others(landed, spec(key=["code"]), "window", "modified", [uuid])
    number = replace(code, type=DataType(Kind.INT64))
    refuse_rows_of_others(landed, spec(key=["code"]), "window", "modified", [number])
