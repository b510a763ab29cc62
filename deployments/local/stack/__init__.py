"""The local stack: everything Ferry meets in production, on this machine, in one folder.

``python -m deployments.local.stack up`` starts MariaDB with the shop, an S3 server, the Redshift
double over PostgreSQL, a price API with made-up prices, a Prefect server and a process worker,
registers the blocks and deploys. They go on after the command has ended. ``status`` tells how they
are, ``query SQL`` asks the warehouse, ``down`` stops exactly the processes that ``up`` started; the
data stay for the next ``up``, except what is in S3.
"""

from deployments.local.stack.start import FOLDER, POOL, StackError, environment, up
from deployments.local.stack.state import Stack

__all__ = ["FOLDER", "POOL", "Stack", "StackError", "environment", "up"]
