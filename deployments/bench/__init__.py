"""`make bench`: how fast and how large, as ratios to what was measured in the same run.

Seconds differ from machine to machine, ratios hardly. `floor` is the least that the work can cost:
the server's own client, and a plain COPY. `ours` runs the real flows in fresh processes. `peer`
runs Airflow's operator. docs/performance.md tells how to read the table.
"""
