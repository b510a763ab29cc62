"""A double of Amazon Redshift for development and tests: a proxy in front of a real PostgreSQL.

See docs/redshift-double.md for what it imitates and what it does not.
"""

from deployments.local.redshift_double.faults import Fault
from deployments.local.redshift_double.handle import RedshiftDouble
from deployments.local.redshift_double.statement_log import LoggedStatement

__all__ = ["Fault", "LoggedStatement", "RedshiftDouble"]
