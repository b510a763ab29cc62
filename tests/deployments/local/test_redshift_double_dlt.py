"""dlt's own Redshift destination, unmodified, takes the double for Redshift."""

from __future__ import annotations

import datetime
import decimal
import io
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem


class _Upload(io.BytesIO):
    def __init__(self, client: Any, bucket: str, key: str) -> None:
        super().__init__()
        self._put = lambda body: client.put_object(Bucket=bucket, Key=key, Body=body)

    def close(self) -> None:
        if not self.closed:
            self._put(self.getvalue())
        super().close()


def _filesystem_over(client: Any) -> type[AbstractFileSystem]:
    """dlt writes its stage through fsspec; s3fs is not among our dependencies, boto3 is."""

    class Stage(AbstractFileSystem):
        protocol = "s3"
        cachable = False

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.removeprefix("s3://").rstrip("/")

        def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
            bucket, _, prefix = self._strip_protocol(path).partition("/")
            found: dict[str, dict[str, Any]] = {}
            answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix)
            for item in answer.get("Contents", []):
                name = f"{bucket}/{item['Key']}"
                if item["Key"] == prefix:
                    found[name] = {"name": name, "size": item["Size"], "type": "file"}
                    found[name]["LastModified"] = item["LastModified"]
                elif not prefix or item["Key"].startswith(prefix + "/"):
                    rest = item["Key"][len(prefix) :].lstrip("/")
                    child = name[: len(name) - len(rest)] + rest.split("/")[0]
                    kind = "directory" if "/" in rest else "file"
                    found[child] = {"name": child, "size": item["Size"], "type": kind}
                    found[child]["LastModified"] = item["LastModified"]
            if not found and prefix:
                raise FileNotFoundError(path)
            return list(found.values()) if detail else list(found)

        def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
            """S3 has no folders."""

        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            """S3 has no folders."""

        def _rm(self, path: str) -> None:
            bucket, _, key = self._strip_protocol(path).partition("/")
            client.delete_object(Bucket=bucket, Key=key)

        def _open(self, path: str, mode: str = "rb", **options: Any) -> io.BytesIO:
            bucket, _, key = self._strip_protocol(path).partition("/")
            if "w" in mode:
                return _Upload(client, bucket, key)
            return io.BytesIO(client.get_object(Bucket=bucket, Key=key)["Body"].read())

    return Stage


@pytest.fixture
def stage_for_dlt(s3_client: Any) -> Iterator[None]:
    before = fsspec.registry.get("s3")
    fsspec.register_implementation("s3", _filesystem_over(s3_client), clobber=True)
    yield
    if before:
        fsspec.register_implementation("s3", before, clobber=True)


def _rows(number: int, name: str) -> dict[str, object]:
    return {
        "id": number,
        "name": name,
        "amount": decimal.Decimal("12.50"),
        "at": datetime.datetime(2026, 2, 5, 9, tzinfo=datetime.UTC),
        "day": datetime.date(2026, 2, 5),
        "open": True,
        "tags": {"k": [1, 2]},
    }


@pytest.mark.filterwarnings("ignore")
def test_dlt_loads_and_merges(double, connect, login, stage_for_dlt, s3, tmp_path, monkeypatch):
    import dlt
    from dlt.destinations import filesystem, redshift

    for name, value in {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_TELEMETRY_DISABLED": "1",
        "DLT_DATA_DIR": str(tmp_path / "data"),
        "DLT_PROJECT_DIR": str(tmp_path),
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    dataset = "dlt_orders"
    pipeline = dlt.pipeline(
        "double",
        pipelines_dir=str(tmp_path / "pipelines"),
        destination=redshift(
            credentials={
                "host": double.host,
                "port": double.port,
                "database": login["dbname"],
                "username": login["user"],
                "password": login["password"],
            },
            staging_iam_role="arn:aws:iam::123456789012:role/loader",
        ),
        staging=filesystem(
            bucket_url=f"s3://stage/{dataset}",
            credentials={
                "aws_access_key_id": "testing",
                "aws_secret_access_key": "testing",
                "endpoint_url": s3.endpoint,
                "region_name": "us-east-1",
            },
        ),
        dataset_name=dataset,
        dev_mode=False,
    )

    def run(file_format: str, *rows: dict[str, object]) -> None:
        info = pipeline.run(
            list(rows), table_name="orders", write_disposition="merge", primary_key="id",
            columns={"tags": {"data_type": "json"}}, loader_file_format=file_format,
        )  # fmt: skip
        info.raise_on_failed_jobs()

    run("jsonl", _rows(1, "één"), _rows(2, "twee"))
    run("parquet", _rows(2, "zwei"), _rows(3, "drei"))
    cursor = connect().cursor()
    cursor.execute(
        f"SELECT id, name, amount, at, day, open, tags FROM {dataset}.orders ORDER BY id"
    )
    expected = [tuple(_rows(n, x).values()) for n, x in ((1, "één"), (2, "zwei"), (3, "drei"))]
    assert cursor.fetchall() == expected
    copies = [s for s in double.statements() if "COPY" in s.sql and dataset in s.sql]
    assert {s.outcome for s in copies} == {"ok"}
    assert {"PARQUET" in s.sql for s in copies} == {False, True}
