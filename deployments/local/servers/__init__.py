"""Private servers on free loopback ports, each in a folder of its own.

Every class starts with ``Class.start(folder, ...)``, which returns once the server answers, and
ends with ``stop()`` or as a context manager. A server ends with the process that started it
unless it was told to ``outlive`` it. A server that stops leaves its data; ``stop(discard=True)``
takes the folder away as well.
"""

from deployments.local.servers.certificates import Certificates
from deployments.local.servers.mariadb_server import MariaDB
from deployments.local.servers.mysql_server import MySQL
from deployments.local.servers.postgres_server import Postgres
from deployments.local.servers.prefect_server import PrefectServer, ProcessWorker
from deployments.local.servers.process import ServerProcess, StartError, free_port
from deployments.local.servers.s3_server import S3, RcloneS3
from deployments.local.servers.server import Server

__all__ = [
    "S3",
    "Certificates",
    "MariaDB",
    "MySQL",
    "Postgres",
    "PrefectServer",
    "ProcessWorker",
    "RcloneS3",
    "Server",
    "ServerProcess",
    "StartError",
    "free_port",
]
