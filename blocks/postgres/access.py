"""Which right a refusal of PostgreSQL or Redshift is about, and the statement that gives it.

The texts that are read here quote names of users, databases, schemas and tables only.
"""

from __future__ import annotations

import re

from ferry.statements import quoted

# Of a connection that is refused there is no code, only a text in the language of the server's
# `lc_messages`: as those say it that PostgreSQL 15 is translated to.
_WRONG_LOGIN = (
    r"password authentication failed|no password supplied|role .* does not exist"
    r"|Authentifizierung für Benutzer .*fehlgeschlagen"
    r"|autentificación .*falló para el usuario"
    r"|authentification .*échouée pour l'utilisateur|Échec de l'authentification"
    r"|autenticazione .*fallita per l'utente"
    r"|autentisering misslyckades för användare"
    r"|не прош[её]л проверку подлинности|не пройшов автентифікацію"
    r"|ავთენტიფიკაცია მომხმარებლისთვის|認証に失敗|认证失败|인증을 실패"
)
# (text, what it means, what to do), of a connection that was refused.
_CONNECTING = (
    (
        _WRONG_LOGIN,
        "wrong user or password",
        "Correct `user` and `password` of the warehouse block.",
    ),
    (
        r"database .* does not exist",
        "there is no such database",
        "Correct `database` of the warehouse block.",
    ),
    (
        r"is not permitted to log in",
        "the user may not log in",
        "Have its administrator run: ALTER ROLE {who} LOGIN; or correct `user` of the block.",
    ),
    (
        r"pg_hba\.conf",  # has no entry for it, or rejects it, in any language
        "the server takes no such connection from this machine",
        "Have its administrator allow the user from here, or correct `sslmode` of the block.",
    ),
    (
        r"weak sslmode",
        "`sslmode` verify-ca needs an authority of its own",
        "Set `sslrootcert` to the file of the authority that signed the server's certificate, or "
        "`sslmode` to verify-full.",
    ),
    (
        r"certificate|does not match host name|does not support SSL",
        "the server's certificate does not verify, or it has none",
        "Set `sslrootcert` to the authority that signed it, and `host` to the name in it.",
    ),
)
REFUSED_CONNECTION = "|".join(text for text, _, _ in _CONNECTING)
"""What a text without a code says where somebody is not let in: trying again is in vain."""

_DENIED = re.compile(
    r"permission denied for (table|relation|view|materialized view|schema|database) (.+)",
    re.IGNORECASE,
)
_NOT_OWNER = re.compile(r"must be (?:the )?owner of (\w+) (.+)", re.IGNORECASE)
_VERB = re.compile(r"\s*(\w+)")

_RIGHTS_ON_TABLE = {
    "SELECT": "SELECT",
    "DELETE": "SELECT, DELETE",
    "UPDATE": "SELECT, UPDATE",
    "COPY": "INSERT",
    "TRUNCATE": "TRUNCATE",
}
_ALL_ON_TABLE = "SELECT, INSERT, UPDATE, DELETE"


def explain_access(message: str, statement: str, user: str) -> tuple[str, str] | None:
    """What was refused and what to do about it; None if the text is of another kind.

    Args:
        message: The server's primary message.
        statement: What was sent; empty when it was the connection that was refused.
        user: Who sent it; empty if that is not known.
    """
    message = message.strip().split("\n")[0]
    who = quoted(user) if user else "the block's user"
    if found := _DENIED.search(message):
        kind, name = found[1].lower(), found[2].strip().strip('"')
        right, what = _right(kind, name, statement)
        todo = f"Have its owner run: GRANT {right} ON {what} TO {who};"
        if statement.lstrip().upper().startswith("LOCK"):
            # https://docs.aws.amazon.com/redshift/latest/dg/r_LOCK.html
            todo += f" Redshift lets only the owner lock it: ALTER {what} OWNER TO {who};"
        return f"the right {right} on {what} is missing", todo
    if found := _NOT_OWNER.search(message):
        name = _full_name(found[2].strip().strip('"'), statement)
        return (
            f"only the owner of {name} may alter or drop it",
            "Let the block's user own it, or have its owner run: "
            f"ALTER {_object(found[1].lower())} {name} OWNER TO {who};",
        )
    if statement:
        return None
    for text, problem, todo in _CONNECTING:
        if re.search(text, message, re.IGNORECASE):
            return problem, todo.format(who=who)
    return None


def _right(kind: str, name: str, statement: str) -> tuple[str, str]:
    """The right that the statement needs on the thing, and the thing as GRANT names it."""
    verb = found[1].upper() if (found := _VERB.match(statement)) else ""
    if kind == "database":
        return ("CREATE" if statement else "CONNECT"), f"DATABASE {quoted(name)}"
    if kind == "schema":
        return ("USAGE, CREATE" if verb == "CREATE" else "USAGE"), f"SCHEMA {quoted(name)}"
    if verb == "INSERT":  # into the one table, from the other
        into = re.match(r"\s*INSERT INTO (\S+)", statement, re.IGNORECASE)
        right = "INSERT" if into and quoted(name) in into[1] else "SELECT"
    else:
        right = _RIGHTS_ON_TABLE.get(verb, _ALL_ON_TABLE)
    return right, f"TABLE {_full_name(name, statement)}"


def _full_name(name: str, statement: str) -> str:
    """The name with the schema that the statement gives it."""
    last = quoted(name)
    schema = re.search(r'("(?:[^"]|"")+")\.' + re.escape(last), statement)
    return f"{schema[1]}.{last}" if schema else last


def _object(kind: str) -> str:
    return "TABLE" if kind == "relation" else kind.upper()
