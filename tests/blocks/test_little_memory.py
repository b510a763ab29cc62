"""What a process that carries tables does without, told by what it has imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HEAVY = (
    "pandas",  # 41 MB
    "matplotlib",
    "sqlglot",
    "apprise",  # with requests 8 MB
    "requests",
    "pyarrow.parquet",  # 5 MB
    "pyarrow.dataset",
    "connectorx",  # in the reading process alone
    "prefect_aws.workers",  # with aiohttp and aiobotocore 11 MB
    "prefect.workers",
    "aiohttp",
    "aiobotocore",
)

FLOWS = sorted(
    f"flows.{file.stem}"
    for file in (ROOT / "flows").glob("*.py")
    if file.stem not in ("__init__", "build_summary")  # which is for pandas and sqlglot
)

TELL = f"""
import sys
print([name for name in {HEAVY!r} if name in sys.modules])
"""

CARRY = """
import sqlite3, sys
from pathlib import Path

import flows.sync_table
from blocks.sources import SQLiteSource
from blocks.stages.parts.files import read_batches, write_parts
from blocks.stages.parts.batch_sums import BatchSums
from blocks.warehouses import DuckDBWarehouse
from ferry.batch import ExtractQuery, StageFormat
from ferry.fingerprints.sums import summed
from ferry.schema import TableName

folder = Path(sys.argv[1])
with sqlite3.connect(folder / "shop.sqlite") as connection:
    connection.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, rate REAL, price DECIMAL(10, 2),"
        " image BLOB, day DATE, at DATETIME, paid BOOLEAN)"
    )
    connection.execute(
        "INSERT INTO t VALUES (1, 'a', 0.5, 1.25, x'00ff', '2023-01-01', '2023-01-01 10:00:00', 1)"
    )
connection.close()
source = SQLiteSource(path=str(folder / "shop.sqlite"))
schema = source.describe(TableName("", "t"))
capabilities = DuckDBWarehouse.capabilities
sums = BatchSums(schema.columns, summed(schema.columns, digests_bytes=1 << 20))

def seen():
    for batch in source.read(ExtractQuery(schema)):
        sums.add(batch)
        yield batch

written = write_parts(
    seen(), schema.columns, folder / "parts", format=StageFormat.CSV, part_size_bytes=1 << 20,
    capabilities=capabilities,
)
assert written.rows == sum(batch.num_rows for batch in read_batches(written)) == 1
"""

STEPS = f"""
import sys

def tell(*names):
    print([name for name in names if name in sys.modules])

import flows.watch_runs, flows.notify_failure
tell("duckdb", "psycopg2", "pymysql", "boto3", "prefect_aws")
import {", ".join(FLOWS)}
tell(*{HEAVY!r})
import flows.pipeline.summaries.publish, tasks.pages.summary
tell("pandas", "matplotlib")

import prefect_aws
assert all(getattr(prefect_aws, name) for name in prefect_aws.__all__)
from prefect_aws import ECSWorker, workers
from prefect_aws.workers.ecs_worker import ECSWorker as its
assert ECSWorker is its is workers.ECSWorker
assert not hasattr(prefect_aws, "no_such_thing")
"""
"""What runs every few minutes, all flows but one, what publishes summaries; then ECS's worker."""

PANDAS_AFTERWARDS = """
import pandas as pd
import pyarrow as pa
frame = pd.DataFrame({"a": [1, 2]})
assert pa.Table.from_pandas(frame)["a"].to_pylist() == [1, 2]
assert pa.array(frame["a"]).to_pylist() == [1, 2]
assert pa.table({"a": [1, 2]}).to_pandas().equals(frame)
"""


def told(code: str, *arguments: str) -> str:
    run = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.seconds
def test_the_flows_import_nothing_that_few_runs_need_and_ecs_s_worker_is_there_for_whoever_asks():
    no_engine, nothing_heavy, no_pandas = told(STEPS).splitlines()
    assert no_engine == nothing_heavy == no_pandas == "[]"


@pytest.mark.seconds
def test_rows_are_carried_without_pandas_which_is_there_for_whoever_asks(tmp_path: Path):
    assert told(CARRY + TELL + PANDAS_AFTERWARDS, str(tmp_path)) == "[]"


def test_the_reading_process_imports_no_more_than_it_reads_with():
    code = """
import runpy, sys
runpy.run_path("blocks/sources/mysql/reader_program.py", run_name="reader")["_libraries"]()
unused = ("blocks", "ferry", "prefect", "pydantic", "pandas", "duckdb", "numpy")
print([name for name in unused if sys.modules.get(name)])
"""
    assert told(code) == "[]"
