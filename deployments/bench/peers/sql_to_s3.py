"""Airflow's `SqlToS3Operator`, executed once: run by the throwaway environment's Python, by path.

    python sql_to_s3.py TABLE BUCKET

AIRFLOW_CONN_SHOP and AIRFLOW_CONN_LAKE say where. The last line of the output is a JSON object with
the seconds that `execute` took. Nothing of Ferry is imported.
"""

from __future__ import annotations

import importlib
import json
import sys
import time


def main() -> None:
    """Write the whole table as one CSV file, as the operator does by default."""
    table, bucket = sys.argv[1:]
    transfers = importlib.import_module("airflow.providers.amazon.aws.transfers.sql_to_s3")
    operator = transfers.SqlToS3Operator(
        task_id="sql_to_s3",
        query=f"SELECT * FROM {table}",  # noqa: S608  # ours
        s3_bucket=bucket,
        s3_key=f"airflow/{table}.csv",
        sql_conn_id="shop",
        aws_conn_id="lake",
        replace=True,
        df_kwargs={"index": False, "header": False},
    )
    begun = time.perf_counter()
    operator.execute({})
    seconds = time.perf_counter() - begun
    sys.stdout.write("\n" + json.dumps({"seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
