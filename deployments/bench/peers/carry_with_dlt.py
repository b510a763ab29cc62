"""A table by dlt: run by the Python of dlt's throwaway environment, by path.

    python carry_with_dlt.py TABLE SCHEMA csv|parquet

PEER_SOURCE, PEER_READER and PEER_TARGET are the URLs of SQLAlchemy, of ConnectorX and of the
target. ConnectorX reads in streams, as dlt's pages advise for tables that are longer than a batch.
CSV reaches PostgreSQL by COPY, Parquet by ADBC, which is dlt's other fast way into it. The last
line of the output is a JSON object with the seconds, imports left out. Nothing of Ferry is
imported.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time


def main() -> None:
    """Replace the table in the target with all rows of the source's."""
    table, schema, file_format = sys.argv[1:]
    dlt = importlib.import_module("dlt")
    sql_database = importlib.import_module("dlt.sources.sql_database")
    for name in ("connectorx", "pyarrow", "sqlalchemy", "psycopg2", "dlt.destinations"):
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        rows = sql_database.sql_table(
            credentials=os.environ["PEER_SOURCE"],
            table=table,
            backend="connectorx",
            backend_kwargs={"conn": os.environ["PEER_READER"], "return_type": "arrow_stream"},
            reflection_level="full_with_precision",
        )
        pipeline = dlt.pipeline(
            f"peer_{table}",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(os.environ["PEER_TARGET"]),
            dataset_name=schema,
        )
        loaded = pipeline.run(rows, write_disposition="replace", loader_file_format=file_format)
        loaded.raise_on_failed_jobs()
        seconds = time.perf_counter() - begun
    sys.stdout.write("\n" + json.dumps({"seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
