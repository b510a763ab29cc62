"""What goes wrong with a MySQL server, as Ferry's own errors."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Collection

import pymysql

from ferry.errors import (
    AccessError,
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    FerryError,
    SchemaError,
)

# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
# https://mariadb.com/kb/en/mariadb-error-code-reference/
_ACCESS = {
    1044, 1045, 1049, 1129, 1130, 1142, 1143, 1227, 1251, 1370, 1372, 1449, 1524, 1698, 1820,
    1862, 2026, 2058, 2059, 2061, 3118, 3159, 3955, 4151,
}  # fmt: skip
_BEGIN_AGAIN = (
    " A run keeps the block as it was when it began: if the block was corrected meanwhile, the run"
    " has to be begun again."
)
# What of it was refused, and what to do. Where there is no word for a number, the general one.
_REFUSED: dict[int, tuple[str, str]] = dict.fromkeys(
    (1045, 1698),
    (
        "wrong user or password",
        "Correct `user` and `password` in the source block." + _BEGIN_AGAIN,
    ),
)
_REFUSED |= {
    1049: ("there is no such database", "Correct `database` in the source block."),
    1044: (
        "the user has no right to the database, or there is none of that name",
        "Correct `database` in the source block, or have the user given the right: "
        "GRANT SELECT ON {database}.* TO the user.",
    ),
    1129: (  # https://dev.mysql.com/doc/refman/8.4/en/host-cache.html
        "the server has blocked this machine after too many connections that failed",
        "Have it let in again: TRUNCATE TABLE performance_schema.host_cache, or `mysqladmin "
        "flush-hosts`. Then look for what broke the connections (`max_connect_errors`).",
    ),
    1130: (
        "the server takes no connection of anybody from this machine",
        "Have its administrator allow the user from here.",
    ),
    1142: (
        "the user has not the right SELECT on the table",
        "Have it given: GRANT SELECT ON {database}.<the table> TO the user.",
    ),
    1143: (
        "the user has not the right SELECT on a column of the table",
        "Have it given: GRANT SELECT ON {database}.<the table> TO the user; or `exclude` the "
        "column in the table's spec.",
    ),
    1227: (
        "the user has not the right PROCESS, or another one that is the server's own",
        "Have it given: GRANT PROCESS ON *.* TO the user.",
    ),
    1449: (
        "the definer of a view, which reads for it, is not there",
        "Have the view made anew by a user that there is: ALTER DEFINER = … VIEW.",
    ),
    1370: (
        "the user has not the right EXECUTE on a routine that a view calls",
        "Have it given: GRANT EXECUTE ON {database}.* TO the user.",
    ),
}
_REFUSED |= dict.fromkeys(
    (1820, 1862), ("the password has expired", "Have the user given a new one.")
)
_REFUSED |= dict.fromkeys(
    (3118, 4151),
    ("the user is locked", "Have it unlocked: ALTER USER … ACCOUNT UNLOCK."),
)
_REFUSED[3955] = (  # https://dev.mysql.com/doc/refman/8.4/en/password-management.html
    "the user is locked after too many logins with a wrong password",
    "Correct `password` in the source block first. Then have the user unlocked, ALTER USER … "
    "ACCOUNT UNLOCK, or wait for as many days as its PASSWORD_LOCK_TIME says." + _BEGIN_AGAIN,
)
_PLUGIN_UNKNOWN = 2059
_NO_TLS_IN_COMMON = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION")
"""OpenSSL's words, where the server has but older versions: its answer's, or its refusal's."""
_LOST = {
    1053, 1077, 1079, 1080, 1152, 1156, 1157, 1158, 1159, 1160, 1161, 1184, 1189, 1190, 1927,
    2002, 2003, 2006, 2013, 2014, 2027, 2055, 3169, 4031,
}  # fmt: skip
_BUSY = {
    1021, 1037, 1038, 1040, 1041, 1047, 1135, 1203, 1205, 1213, 1226, 1317, 1412, 1461, 1615, 1637,
    1969, 3024, 3032, 3572,
}  # fmt: skip
_STOPPED = (
    "is busy, or stopped the statement: a lock, a limit, or somebody's KILL",
    "look for long transactions and time limits",
)
_ENDED = {
    code: (
        f"ended the statement: it ran for longer than `{limit}` allows",
        "have this limit, which Ferry lifts in its own sessions, lifted for Ferry's user by the "
        "proxy, or the rule that rewrites statements, that has set it again; or read less at a "
        "time, in windows, by an index on the cursor column",
    )
    for code, limit in ((3024, "max_execution_time"), (1969, "max_statement_time"))
}
_LACKS = {
    1021: ("has no room left on its disk", "make room there"),
    1038: (
        "has too little memory to sort the rows",
        "raise its `sort_buffer_size`, or put an index on the cursor column",
    ),
    1047: (  # https://galeracluster.com/library/documentation/: a node without its cluster
        "takes no statements now, as a node does that is not in its cluster",
        "see that the node is in it (`wsrep_ready`), or read from another one",
    ),
    3032: ("is in offline mode", "have it taken out of it, `offline_mode`"),
}
_LACKS |= dict.fromkeys(
    (1037, 1041, 1135), ("is out of memory", "give it more, or let less run there")
)
_LACKS |= dict.fromkeys(
    (1040, 1203, 1226),
    (
        "has no connection or query left, for all or for Ferry's user",
        "raise `max_connections`, or the user's limits (`MAX_…`, `max_user_connections`); or let "
        "fewer read at once: FERRY_READERS, when the blocks are registered",
    ),
)
_OF_PROXIES = range(9000, 10000)  # https://proxysql.com/documentation/: 9001, no backend in time
MAKE_VIEW_ANEW = (
    "Look at SHOW WARNINGS after a SELECT of it: a table or a column under it is gone, or its "
    "definer is, or may not read it. Have the view made anew."
)
_SCHEMA = dict.fromkeys(
    (1051, 1054, 1103, 1146),
    ("does not have the table or a column any more", "Run again: the catalog is read anew."),
)
_SCHEMA[1356] = ("has a view in the table's place that is broken", MAKE_VIEW_ANEW)

_CHECK_ALL = (
    "Check user, password and database in the source block, TLS, and that the user may connect "
    "from here and SELECT from the table."
)

_LOCKED = re.compile(r"Waiting for [\w ]*(lock|flush)")
"""https://dev.mysql.com/doc/refman/8.4/en/general-thread-states.html"""

_CLIENT_ERRORS = 2000
"""Numbers below are the server's own; from here on, the connection failed."""


def number_of(error: BaseException) -> int:
    """The error's number; 0 where it has none, as pymysql's own often have but a text."""
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


def is_the_server_s(error: pymysql.MySQLError) -> bool:
    """Whether the server refused the statement, over a connection that is as good as before."""
    return 0 < number_of(error) < _CLIENT_ERRORS


def mysql_error(error: pymysql.MySQLError, address: str) -> FerryError:
    """The error for one of pymysql's, to be raised `from` it.

    Args:
        error: What pymysql raised.
        address: Server and database, for the message.
    """
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return AccessError(
            f"the certificate of {address} does not verify",
            found=getattr(cause, "verify_message", None) or cause.reason,
            todo="Set `ca_path` to the authority that signed it, and `host` to the name in it.",
        )
    if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS_IN_COMMON:
        return AccessError(
            f"{address} has no version of TLS that this machine takes",
            found=cause.reason,
            todo="Have TLS 1.2 or a later version enabled there: `tls_version`.",
        )
    if isinstance(cause, ssl.SSLError):
        return ConnectionLostError(
            f"the connection to {address} failed or was cut while TLS began",
            found=cause.reason,
            todo="If it stays so: check host, port and firewall, and what the server's log says of "
            "TLS; then retry the run.",
        )
    if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
        return AccessError(
            f"the host name of {address} is not known", todo="Check `host` in the source block."
        )
    if number_of(error) == _PLUGIN_UNKNOWN and (plugin := _plugin_in(str(error))):
        return unknown_login(plugin, address)
    return error_of_code(number_of(error), address)


def login_error(error: RuntimeError, address: str) -> FerryError:
    """The error where pymysql wants another package for the way in which the user logs in.

    Args:
        error: What pymysql raised.
        address: Server and database, for the message.
    """
    if "ed25519" in str(error):  # which the reading process would not know either
        return unknown_login("ed25519", address)
    return ConfigurationError(
        f"logging in to {address} without TLS needs the Python package `cryptography`",
        todo="Install it where the flow runs, or let the source block use TLS.",
    )


def unknown_login(plugin: str, address: str) -> AccessError:
    """The error for a user who logs in by a plugin of the server's that Ferry's drivers lack.

    Args:
        plugin: Its name.
        address: Server and database, for the message.
    """
    return AccessError(
        f"the user logs in to {address} by the plugin `{plugin}`, which Ferry's reader does not "
        "know",
        expected="`caching_sha2_password` or `mysql_native_password`",
        todo="Have the user altered, in MySQL: ALTER USER … IDENTIFIED WITH "
        "caching_sha2_password BY '…'; in MariaDB: ALTER USER … IDENTIFIED VIA "
        "mysql_native_password USING PASSWORD('…').",
    )


def _plugin_in(text: str) -> str | None:
    found = re.search(r"plugin '(?:b')?([\w-]{1,64})'", text)
    return found[1] if found else None


def is_read_timeout(error: pymysql.MySQLError) -> bool:
    """Whether pymysql waited for an answer for as long as it was told to, and gave up.

    The operating system's own giving up (ETIMEDOUT) is a `TimeoutError`, too, with its number.
    """
    cause = error.__context__
    return isinstance(cause, TimeoutError) and cause.errno is None


def error_of_code(code: int, address: str) -> FerryError:
    """The error for a number of the server's or of the client library's.

    The server's own words are left out: they may hold values.

    Args:
        code: The error's number; 0 when there is none.
        address: Server and database, for the message.
    """
    number = f"error {code}" if code else "no error number"
    if code in _ACCESS:
        problem, todo = _REFUSED.get(code, ("", _CHECK_ALL))
        database = address.rpartition("/")[2]
        return AccessError(
            f"{address} refused access" + (f": {problem}" if problem else ""),
            found=number,
            todo=todo.format(database=f"`{database}`"),
        )
    if code in _BUSY:
        problem, todo = (_ENDED | _LACKS).get(code, _STOPPED)
        return BusyError(
            f"{address} {problem}",
            found=number,
            todo=f"If it stays so: {todo}; then retry the run.",
        )
    if code in _SCHEMA:
        problem, todo = _SCHEMA[code]
        return SchemaError(f"{address} {problem}", found=number, todo=todo)
    if code == 9006:
        return ConfigurationError(
            f"the proxy at {address} keeps the session to the hostgroup where it began",
            found=number,
            todo="Give Ferry's user one hostgroup in ProxySQL's rules, or take the server itself.",
        )
    if code in _LOST or 2000 <= code < 3000 or code in _OF_PROXIES or not code:
        return ConnectionLostError(
            f"the connection to {address} failed or was cut",
            found=number,
            todo="If it stays so: check host, port, firewall and the server; then retry the run.",
        )
    return ConfigurationError(
        f"{address} refused the statement",
        found=number,
        todo="Look the number up in the server's manual.",
    )


def no_answer_in_time(
    address: str, seconds: float, awaited: str = "rows", before: str = "its first row"
) -> ConnectionLostError:
    """The error for a statement that the server was given `read_timeout_seconds` for, in vain.

    Args:
        address: Server and database, for the message.
        seconds: So long it was waited for.
        awaited: What did not come.
        before: What the statement needs longer for.
    """
    return ConnectionLostError(
        f"no {awaited} came from {address} for {seconds:g} seconds",
        todo=f"If it stays so, as where the statement needs longer before {before}: put an index "
        "on the cursor column or raise `read_timeout_seconds`; then retry the run.",
    )


def tell_lock(error: FerryError, states: Collection[str]) -> None:
    """Say of a statement that waited in vain that it waited for a lock, if that is why.

    Args:
        error: What is raised for it.
        states: What the server's process list said of it.
    """
    if state := next(filter(_LOCKED.fullmatch, states), None):
        error.found = state
        error.todo = (
            "An ALTER TABLE, a FLUSH, a backup or a long transaction holds the table, or waits for "
            "it. If it stays so: see SHOW PROCESSLIST, and let it end; then retry the run."
        )


def no_right_to_read(table: str, address: str) -> AccessError:
    """The error for a table that is there and that the user may not read.

    Args:
        table: Its quoted name.
        address: Server and database, for the message.
    """
    return AccessError(
        f"{address} refused access: the user has not the right SELECT on {table}",
        todo=f"Have it given: GRANT SELECT ON {table} TO the user.",
    )
