"""COPY through the double, line by line of what Redshift is known to do."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import json
import time

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

COPY = "COPY {} FROM '{}' IAM_ROLE 'arn:aws:iam::0:role/r' MANIFEST {}"
CSV = "CSV NULL AS '@N@' TIMEFORMAT 'auto' DATEFORMAT 'auto' COMPUPDATE OFF STATUPDATE OFF"


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def load(cursor, table, uri, options=CSV):
    cursor.execute(COPY.format(table, uri, options))


def parquet(**columns):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.fixture
def table(redshift):
    redshift.execute("CREATE TABLE t (id int, name varchar(5), amount decimal(8,2), day date)")
    return redshift


@pytest.mark.parametrize(
    ("compress", "option"),
    [(lambda b: b, ""), (gzip.compress, "GZIP"), (zstandard.compress, "ZSTD")],
    ids=["plain", "gzip", "zstd"],
)
def test_loads_every_part_of_a_manifest_and_counts_the_rows(table, stage, compress, option):
    uri = stage(compress(b"1,a,1.25,2026-02-05\n"), compress(b"2,b,2.50,2026-02-06"))
    load(table, "t (id, name, amount, day)", uri, f"{CSV} {option} REGION 'us-east-1' MAXERROR 0")
    assert rows(table, "SELECT id, name, amount::text FROM t ORDER BY id") == [
        (1, "a", "1.25"), (2, "b", "2.50"),
    ]  # fmt: skip
    assert rows(table, "SELECT pg_last_copy_count(), pg_last_copy_id() > 0") == [(2, True)]
    assert "2 record(s) loaded successfully" in table.connection.notices[-1]


def test_a_file_that_cannot_be_decompressed_is_refused_and_nothing_is_loaded(table, stage):
    many = b"".join(b"%d,a,1.25,2026-02-05\n" % number for number in range(9999))
    packed = bytearray(zstandard.compress(many))
    packed[len(packed) // 2 :] = bytes(255 - byte for byte in packed[len(packed) // 2 :])
    uri = stage(zstandard.compress(b"1,a,1.25,2026-02-05\n"), bytes(packed))
    with pytest.raises(psycopg2.InternalError, match="could not be decompressed"):
        load(table, "t (id, name, amount, day)", uri, f"{CSV} ZSTD")
    table.connection.rollback()
    assert rows(table, "SELECT count(*) FROM t") == [(0,)]


def test_a_column_list_orders_the_fields(table, stage):
    load(table, "t (day, id)", stage(b"2026-02-05,7\n"))
    assert rows(table, "SELECT id, name, day::text FROM t") == [(7, None, "2026-02-05")]


@pytest.mark.parametrize(
    ("body", "options", "expected"),
    [
        (b"1,\\N,1,\n", "CSV", [(1, None, "1.00", None)]),
        (b",,,\n", CSV, [(None, "", None, None)]),
        (b'1,"",,2026-01-01\n', CSV, [(1, "", None, "2026-01-01")]),
        (b"@N@,@N@,@N@,@N@\n", CSV, [(None, None, None, None)]),
        (b"@N@,@N@,,2026-01-01\n", CSV, [(None, None, None, "2026-01-01")]),
        (b'1,"a""b",1,2026-01-01\n', CSV, [(1, 'a"b', "1.00", "2026-01-01")]),
        (b'1,"a\nb",1,2026-01-01\n', CSV, [(1, "a\nb", "1.00", "2026-01-01")]),
        (b"1,a,1.999,2026-01-01\n", CSV, [(1, "a", "1.99", "2026-01-01")]),
        (b"1,a,-1.999,2026-01-01\n", CSV, [(1, "a", "-1.99", "2026-01-01")]),
        (b"1,a,1.999,2026-01-01\n", CSV + " ROUNDEC", [(1, "a", "2.00", "2026-01-01")]),
        (b"id,x,y,z\n1,a,1,2026-01-01\n", CSV + " IGNOREHEADER 1",
         [(1, "a", "1.00", "2026-01-01")]),
        (b"1|a|1|2026-01-01\n", CSV + " DELIMITER '|'", [(1, "a", "1.00", "2026-01-01")]),
        (b"1,abcdefg,1,2026-01-01\n", CSV + " TRUNCATECOLUMNS",
         [(1, "abcde", "1.00", "2026-01-01")]),
        (b'1,"",1,2026-01-01\n', CSV + " EMPTYASNULL", [(1, None, "1.00", "2026-01-01")]),
        (b"1,  ,1,2026-01-01\n", CSV + " BLANKSASNULL", [(1, None, "1.00", "2026-01-01")]),
        (b"1,a\n", CSV + " FILLRECORD", [(1, "a", None, None)]),
        (b"1,a\xff,1,2026-01-01\n", CSV + " ACCEPTINVCHARS", [(1, "a?", "1.00", "2026-01-01")]),
        (b"1,a,1,2026-01-01\nx,a,1,2026-01-01\n", CSV + " MAXERROR 1",
         [(1, "a", "1.00", "2026-01-01")]),
        (b"", CSV, []),
    ],
)  # fmt: skip
def test_csv_is_read_as_redshift_reads_it(table, stage, body, options, expected):
    load(table, "t (id, name, amount, day)", stage(body), options)
    assert rows(table, "SELECT id, name, amount::text, day::text FROM t") == expected


@pytest.mark.parametrize(
    ("line", "column", "kind", "reason"),
    [
        (b"x,a,1,2026-01-01", "id", "int4", "Invalid digit"),
        (b"99999999999,a,1,2026-01-01", "id", "int4", "overflow"),
        (b"1,abcdef,1,2026-01-01", "name", "varchar", "String length exceeds DDL length"),
        ("1,ääc€,1,2026-01-01".encode(), "name", "varchar", "String length exceeds DDL length"),
        (b"1,a,1e99,2026-01-01", "amount", "numeric", "Decimal"),
        (b"1,a,NaN,2026-01-01", "amount", "numeric", "Decimal"),
        (b"1,a,1,2026-02-30", "day", "date", "Date"),
        (b"1,a,1", "", "", "Delimiter not found"),
        (b"1,a,1,2026-01-01,9", "", "", "Extra column"),
        (b"1,a\xff,1,2026-01-01", "name", "varchar", "UTF8"),
    ],
)
@pytest.mark.parametrize("autocommit", [True, False])
def test_a_bad_value_fails_the_load_and_its_place_is_recorded(
    table, stage, line, column, kind, reason, autocommit
):
    uri = stage(b"1,a,1,2026-01-01\n", b"2,a,1,2026-01-01\n" + line + b"\n")
    table.connection.autocommit = autocommit
    with pytest.raises(psycopg2.InternalError) as caught:
        load(table, "t (id, name, amount, day)", uri)
    assert caught.value.pgcode == "XX000"
    assert "Load into table 't' failed.  Check 'sys_load_error_detail'" in str(caught.value)
    if not autocommit:
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            table.execute("SELECT 1")
        table.connection.rollback()
    found = rows(
        table,
        "SELECT file_name, line_number, column_name, column_type, error_message "
        "FROM sys_load_error_detail WHERE query_id = pg_last_copy_id()",
    )
    assert len(found) == 1
    assert found[0][:4] == (uri.replace("manifest.json", "part1"), 2, column, kind)
    assert reason.lower() in found[0][4].lower()
    old = rows(table, "SELECT line_number, raw_line FROM stl_load_errors "
                      "WHERE query = pg_last_copy_id()")  # fmt: skip
    assert old[0][0] == 2
    assert old[0][1]
    assert rows(table, "SELECT count(*) FROM t") == [(0,)]
    table.connection.rollback()
    table.connection.autocommit = True


def test_null_in_a_required_column_is_a_load_error(redshift, stage):
    redshift.execute("CREATE TABLE n (id int not null)")
    with pytest.raises(psycopg2.InternalError, match="failed"):
        load(redshift, "n (id)", stage(b"@N@\n"))
    found = rows(redshift, "SELECT err_reason FROM stl_load_errors WHERE query = pg_last_copy_id()")
    assert found == [("Missing data for not-null field",)]


def test_missing_mandatory_file_loads_nothing(table, stage):
    uri = stage(b"1,a,1,2026-01-01\n", missing=(True,))
    with pytest.raises(psycopg2.InternalError, match="mandatory"):
        load(table, "t", uri)
    assert rows(table, "SELECT count(*) FROM t") == [(0,)]


def test_missing_optional_file_is_skipped(table, stage):
    load(table, "t", stage(b"1,a,1,2026-01-01\n", missing=(False,)))
    assert rows(table, "SELECT count(*) FROM t") == [(1,)]


def test_a_file_listed_twice_loads_twice(table, stage, s3_client):
    uri = stage(b"1,a,1,2026-01-01\n")
    key = uri.removeprefix("s3://stage/")
    entry = {"url": uri.replace("manifest.json", "part0"), "mandatory": True}
    s3_client.put_object(Bucket="stage", Key=key, Body=json.dumps({"entries": [entry, entry]}))
    load(table, "t", uri)
    assert rows(table, "SELECT count(*) FROM t") == [(2,)]


def test_a_compressed_manifest_is_refused(table, stage, s3_client):
    uri = stage(b"1,a,1,2026-01-01\n")
    s3_client.put_object(
        Bucket="stage", Key=uri.removeprefix("s3://stage/"), Body=gzip.compress(b"{}")
    )
    with pytest.raises(psycopg2.InternalError, match="manifest"):
        load(table, "t", uri)


def test_a_prefix_loads_siblings_too(table, s3_client):
    for key in ("pre/x", "pre/x.bak"):
        s3_client.put_object(Bucket="stage", Key=key, Body=b"1,a,1,2026-01-01\n")
    table.execute("COPY t FROM 's3://stage/pre/x' IAM_ROLE 'r' CSV")
    assert rows(table, "SELECT count(*) FROM t") == [(2,)]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("COPY t FROM '{}' MANIFEST CSV", "IAM_ROLE"),
        ("COPY t FROM '{}' IAM_ROLE 'r' MANIFEST CSV FROBNICATE", "syntax error.*frobnicate"),
        ("COPY t FROM '{}' CREDENTIALS 'aws_access_key_id=a' MANIFEST CSV", "Use IAM_ROLE"),
        ("COPY t FROM '{}' ACCESS_KEY_ID 'a' SECRET_ACCESS_KEY 'b' MANIFEST CSV", "Use IAM_ROLE"),
        ("COPY t FROM '{}' IAM_ROLE 'r' MANIFEST CSV ESCAPE", "not supported"),
        ("COPY nothing FROM '{}' IAM_ROLE 'r' MANIFEST CSV", "does not exist"),
        ("COPY t (nope) FROM '{}' IAM_ROLE 'r' MANIFEST CSV", 'column "nope"'),
        ("COPY t FROM 's3://nobucket/x' IAM_ROLE 'r' CSV", "bucket does not exist,Status 404"),
        ("COPY t FROM 's3://nobucket/x' IAM_ROLE 'r' CSV MANIFEST", "Status 404"),
        ("COPY t FROM 's3://stage/nokey' IAM_ROLE 'r' CSV", "prefix 'nokey' does not exist"),
        ("COPY t FROM 's3://stage/nokey' IAM_ROLE 'r' CSV MANIFEST", "NoSuchKey"),
        ("COPY t FROM '{}' IAM_ROLE 'r' MANIFEST PARQUET MAXERROR 3", "MAXERROR"),
        ("COPY t FROM '{}' IAM_ROLE 'r' MANIFEST PARQUET TIMEFORMAT 'auto'", "TIMEFORMAT"),
        ("COPY t FROM '{}' IAM_ROLE 'r' MANIFEST PARQUET GZIP", "GZIP"),
    ],
)
def test_refuses_what_redshift_refuses(table, stage, text, match):
    with pytest.raises(psycopg2.Error, match=match):
        table.execute(text.format(stage(b"1,a,1,2026-01-01\n")))
    assert rows(table, "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("options", [CSV, f"{CSV} EMPTYASNULL"], ids=["straight", "by records"])
def test_a_text_within_super_is_no_longer_than_a_varchar(redshift, stage, options):
    redshift.execute("CREATE TABLE j (id int, doc super)")
    fits, too_long = ['"' + "é" * 32_767 + "a" * n + '"' for n in (1, 2)]
    good = f'1,"[{fits},{fits}]"\n'.replace('"é', '""é').replace('a"', 'a""').encode()
    bad = f'2,"{{""k"": [""{too_long[1:-1]}""]}}"\n'.encode()
    load(redshift, "j", stage(good), options)
    with pytest.raises(psycopg2.InternalError):
        load(redshift, "j", stage(bad), options)
    assert rows(
        redshift,
        "SELECT line_number, column_name, error_code FROM sys_load_error_detail "
        "WHERE query_id = pg_last_copy_id()",
    ) == [(1, "doc", 1224)]
    assert rows(redshift, "SELECT id FROM j") == [(1,)]


def test_parquet_loads_by_position_and_keeps_empty_text_apart_from_null(redshift, stage):
    redshift.execute(
        "CREATE TABLE p (a bigint, b varchar(20), c decimal(10,2), d date, e timestamp, f boolean,"
        " g double precision, h varbyte, i super)"
    )
    body = parquet(
        z=pa.array([1, None]), y=pa.array(["", None]),
        x=pa.array([decimal.Decimal("1.25"), None], pa.decimal128(10, 2)),
        w=pa.array([0, None], pa.date32()), v=pa.array([1_500_000, None], pa.timestamp("us")),
        u=pa.array([True, None]), t=pa.array([1.5, None]), s=pa.array([b"\x01", None]),
        r=pa.array([{"k": [1]}, None]),
    )  # fmt: skip
    load(redshift, "p", stage(body, meta=True), "FORMAT AS PARQUET SERIALIZETOJSON")
    found = rows(redshift, "SELECT a, b, c::text, d::text, e::text, f, g, h::text, i FROM p "
                           "ORDER BY a NULLS LAST")  # fmt: skip
    assert found == [
        (1, "", "1.25", "1970-01-01", "1970-01-01 00:00:01.5", True, 1.5, "\\x01", {"k": [1]}),
        (None,) * 9,
    ]


def test_parquet_times_in_nanoseconds_are_misread_and_others_are_not(redshift, stage):
    redshift.execute("CREATE TABLE p (a timestamp, b timestamp, c timestamptz)")
    moment = datetime.datetime(1000, 1, 1, 12)
    early = pa.table({
        "a": pa.array([1_500_000_000], pa.timestamp("ns")),
        "b": pa.array([moment], pa.timestamp("us")), "c": pa.array([0], pa.timestamp("us", "UTC")),
    })  # fmt: skip
    for old in (False, True):
        pq.write_table(early, sink := io.BytesIO(), use_deprecated_int96_timestamps=old)
        load(redshift, "p", stage(sink.getvalue(), meta=True), "PARQUET")
    found = rows(redshift, "SELECT a::text, b::text, c::text FROM p ORDER BY a")
    others = ("1000-01-01 12:00:00", "1970-01-01 00:00:00+00")
    assert found == [
        ("1970-01-01 00:00:01.5", *others), ("1970-01-01 00:25:00", *others),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "body", "meta", "match"),
    [
        ("a int", {"a": pa.array([1])}, True, "15007.*incompatible Parquet s"),
        ("a bigint", {"a": pa.array(["1"])}, True, "15007.*incompatible Parquet s"),
        (
            "a decimal(8,1)",
            {"a": pa.array([decimal.Decimal("1.25")])},
            True,
            "15001.*column 'a' has an invalid type length",
        ),
        ("a bigint, b int", {"a": pa.array([1])}, True, "15007.*Unmatched number of columns"),
        ("a time", {"a": pa.array([1], pa.time64("us"))}, True, "TIME"),
        ("a bigint", {"a": pa.array([1])}, False, "content_length"),
        ("a varchar(2)", {"a": pa.array(["€"])}, True, "failed"),
    ],
)
def test_parquet_that_does_not_fit_is_refused(redshift, stage, columns, body, meta, match):
    redshift.execute(f"CREATE TABLE q ({columns})")
    with pytest.raises(psycopg2.Error, match=f"(?s){match}"):
        load(redshift, "q", stage(parquet(**body), meta=meta), "PARQUET")
    assert rows(redshift, "SELECT count(*) FROM q") == [(0,)]


def test_json_lines_load_by_name(table, stage):
    body = gzip.compress(b'{"name": "a", "ID": 1, "amount": 1.999}\n{"id": 2, "other": true}\n')
    load(table, "t", stage(body), "FORMAT AS JSON 'auto' GZIP TIMEFORMAT 'auto'")
    assert rows(table, "SELECT id, name, amount::text FROM t ORDER BY id") == [
        (1, "a", "1.99"), (2, None, None),
    ]  # fmt: skip


def test_timestamp_ignores_a_zone_and_timestamptz_converts_to_utc(redshift, stage):
    redshift.execute("CREATE TABLE z (a timestamp, b timestamptz)")
    load(redshift, "z", stage(b"2026-02-05 12:00:00+02,2026-02-05 12:00:00+02\n"))
    assert rows(redshift, "SELECT a::text, b::text FROM z") == [
        ("2026-02-05 12:00:00", "2026-02-05 10:00:00+00")
    ]


def test_epoch_times_load_when_asked(redshift, stage):
    redshift.execute("CREATE TABLE z (a timestamp)")
    load(redshift, "z", stage(b"1\n"), "CSV TIMEFORMAT 'epochsecs'")
    assert rows(redshift, "SELECT a::text FROM z") == [("1970-01-01 00:00:01",)]


def test_copy_inside_a_transaction_rolls_back(connect, redshift, stage):
    redshift.execute("CREATE TABLE t (id int)")
    redshift.execute("BEGIN")
    load(redshift, "t", stage(b"1\n"))
    redshift.execute("ROLLBACK")
    assert rows(redshift, "SELECT count(*) FROM t") == [(0,)]


def test_the_loads_of_a_session_are_listed(redshift, stage):
    redshift.execute("CREATE TABLE t (id int)")
    uri = stage(b"1\n")
    load(redshift, "t", uri)
    found = rows(redshift, "SELECT filename, lines_scanned FROM stl_load_commits "
                           "WHERE query = pg_last_copy_id()")  # fmt: skip
    assert found == [(uri.replace("manifest.json", "part0"), 1)]


def test_a_large_load_stays_close_to_plain_copy(redshift, stage):
    """The fast route: ten times as many rows take nowhere near ten times as long as one by one."""
    redshift.execute("CREATE TABLE big (id bigint, name varchar(40), amount decimal(12,2))")
    lines = [b"%d,name of %d,%d.25\n" % (i, i, i) for i in range(300_000)]
    few, many = (stage(zstandard.compress(b"".join(some))) for some in (lines[:30_000], lines))
    started = time.monotonic()
    load(redshift, "big", few, CSV + " ZSTD BLANKSASNULL")  # an option that changes values
    between = time.monotonic()
    redshift.execute("TRUNCATE big")
    load(redshift, "big", many, CSV + " ZSTD")
    assert time.monotonic() - between < 3 * (between - started)
    assert rows(redshift, "SELECT count(*), sum(id) FROM big") == [
        (300_000, 300_000 * 299_999 // 2)
    ]


def test_varbyte_is_read_as_hexadecimal_digits(redshift, stage):
    redshift.execute("CREATE TABLE v (a varbyte, b int)")
    load(redshift, "v", stage(b"005c78,1\n,2\n@N@,3\n"))
    assert rows(redshift, "SELECT a::text FROM v ORDER BY b") == [("\\x005c78",), (None,), (None,)]
    with pytest.raises(psycopg2.InternalError, match="failed"):
        load(redshift, "v", stage(b"xyz,1\n"))
    found = rows(redshift, "SELECT line_number, colname, err_reason FROM stl_load_errors "
                           "WHERE query = pg_last_copy_id()")  # fmt: skip
    assert found == [(1, "a", "Invalid hexadecimal digit, Type: Varbyte")]
