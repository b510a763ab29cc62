"""What the driver's errors become: by their code, and in whichever language the server writes."""

# ruff: noqa: RUF001 - the quotation marks of other languages

from __future__ import annotations

import traceback
from types import SimpleNamespace
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from blocks.postgres.errors import ferry_error, load_position
from ferry.errors import (
    AccessError,
    BusyError,
    ConnectionLostError,
    DataError,
    FatalError,
    FerryError,
    OutcomeUnknownError,
    SchemaError,
)


def driver_s(code: str, text: str) -> psycopg2.Error:
    """The driver's error of this code and text, as it is after it was pickled."""
    error: psycopg2.Error = psycopg2.errors.lookup(code)(text)
    error.__setstate__({"pgerror": text, "pgcode": code})  # type: ignore[no-untyped-call]
    return error


@pytest.mark.parametrize(
    ("code", "text", "says"),
    [
        ("25006", "cannot execute LOCK TABLE during recovery", "takes no writes.*replica"),
        (
            "55000",
            "cannot acquire lock mode ShareLock on database objects while recovery is in progress",
            "takes no writes.*replica",
        ),
        ("25P03", "terminating connection due to idle-in-transaction timeout", "idle_in_transac"),
        ("25P04", "terminating connection due to transaction timeout", "`transaction_timeout`"),
        ("53100", 'could not extend file "base/5/16": No space left on device', "disk is full"),
        ("53200", "out of memory", "memory"),
        ("53300", "sorry, too many clients already", "max_connections"),
        ("53400", "temporary file size exceeds temp_file_limit (1024kB)", "temp_file_limit"),
        ("57014", "canceling statement due to statement timeout", "statement_timeout_seconds"),
        ("55P03", "canceling statement due to lock timeout", "lock_timeout"),
        ("XX000", "Disk Full", "cluster's disk is full.*VACUUM"),
        ("XX000", "system requested abort query", "cluster itself ended"),
        ("XX000", "abort query", "cluster itself ended"),
        ("XX000", "Out Of Memory: ", "out of memory.*WLM"),
        *(
            (
                code,
                'Query (22) cancelled by WLM abort action of Query Monitoring Rule "short".',
                "query monitoring rule.*[Ee]xempt",
            )
            for code in ("XX000", "57014")
        ),
    ],
)
def test_what_may_pass_is_tried_again_and_says_what_to_look_at(
    code: str, text: str, says: str
) -> None:
    error = ferry_error(driver_s(code, text))
    assert isinstance(error, BusyError)
    with pytest.raises(BusyError, match=says):
        raise error


def test_a_text_of_redshifts_that_only_holds_such_words_is_not_tried_again() -> None:
    said = "1 value of the column is not valid: the disk full of songs"
    assert type(ferry_error(driver_s("XX000", said))) is FatalError


def test_too_many_columns_are_called_so() -> None:
    error = ferry_error(driver_s("54011", "target lists can have at most 1664 entries"))
    with pytest.raises(SchemaError, match=r"so many columns.*1664.*`exclude` some"):
        raise error


def test_what_is_not_ready_and_not_in_recovery_is_not_tried_again() -> None:
    said = 'materialized view "while recovery is in progress" has not been populated'
    assert type(ferry_error(driver_s("55000", said))) is FatalError


@pytest.mark.parametrize("code", ["25P03", "25P04"])
def test_a_session_that_ends_at_its_commit_may_have_committed(code: str) -> None:
    error: FerryError = ferry_error(driver_s(code, "terminating connection"), committing=True)
    assert isinstance(error, OutcomeUnknownError)


REJECTED = (
    'pg_hba.conf rejects connection for host "::1", user "ferry", database "shop", no encryption',
    "kein pg_hba.conf-Eintrag für Host »::1«, Benutzer »ferry«, Datenbank »shop«",
)
WRONG_LOGINS = (
    'password authentication failed for user "ferry"',
    "Passwort-Authentifizierung für Benutzer »ferry« fehlgeschlagen",
    "la autentificación password falló para el usuario «ferry»",
    "authentification par mot de passe échouée pour l'utilisateur  « ferry »",
    'autenticazione con password fallita per l\'utente "ferry"',
    'Lösenordsautentisering misslyckades för användare "ferry"',
    'пользователь "ferry" не прошёл проверку подлинности (по паролю)',
    'користувач "ferry" не пройшов автентифікацію за допомогою пароля',
    'პაროლით ავთენტიფიკაცია მომხმარებლისთვის "ferry" ვერ მოხერხდა',
    'ユーザー"ferry"のパスワード認証に失敗しました',
    '사용자 "ferry"의 password 인증을 실패했습니다',
    '用户 "ferry" Password 认证失败',
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        *((said, "wrong user or password.*Correct `user` and `password`") for said in WRONG_LOGINS),
        *((said, "takes no such connection.*allow the user from here") for said in REJECTED),
    ],
)
def test_a_refused_login_is_no_lost_connection_in_any_language(said: str, told: str) -> None:
    """A server may lock a user who fails at it too often."""
    text = f'connection to server at "::1", port 5432 failed: FATAL:  {said}\n'
    with pytest.raises(AccessError, match=told):
        raise ferry_error(psycopg2.OperationalError(text), user="ferry")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("storniere Authentifizierung wegen Zeitüberschreitung", ConnectionLostError),
        ("zu viele Verbindungen von Rolle »ferry«", ConnectionLostError),
        ('too many connections for role "ferry"', BusyError),
    ],
)
def test_a_login_that_may_succeed_later_is_tried_again(said: str, kind: type[FerryError]) -> None:
    text = f'connection to server at "::1", port 5432 failed: FATAL:  {said}\n'
    assert type(ferry_error(psycopg2.OperationalError(text), user="ferry")) is kind


QUOTED = {
    "German, Spanish": ("ungültige Eingabesyntax für Typ integer: »{}«", "«{}»"),
    "French": ("la valeur « {} » est en dehors des limites pour le type integer", "« {} »"),
    "Czech": ("chybná vstupní syntaxe „{}“ pro typ integer", "„{}“"),
    "Polish": ("nieprawidłowa składnia „{}” dla typu integer", "„{}”"),
    "Japanese, Chinese": ("型integerの入力構文が不正です「{}」", "『{}』"),
    "typographic": ("invalid input “{}” of type integer", "‘{}’"),
    "Georgian": ("{} დიაპაზონს გარეთაა ტიპისთვის: real", "ტიპი: {}"),
    "single": ("ungültig ‹{}› integer", "‚{}‘"),
}


@pytest.mark.parametrize("quoting", QUOTED)
@pytest.mark.parametrize(
    "value", ["s3cret", 's3cret" «s3cret» „s3cret“ ’s3cret‘ ›s3cret‹', "a\ns3cret"]
)
def test_a_value_is_withheld_in_whichever_marks_a_language_quotes_it(
    quoting: str, value: str
) -> None:
    for text in QUOTED[quoting]:
        error = driver_s("22P02", text.format(value))
        with pytest.raises(DataError) as caught:
            raise ferry_error(error) from error
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_character_of_a_value_is_not_told_by_its_bytes() -> None:
    said = (
        'character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no equivalent in "LA"'
    )
    error = ferry_error(driver_s("22P05", said))
    assert error.found == "character with byte sequence … in encoding … (SQLSTATE 22P05)"


def test_what_is_told_in_another_language_is_named_by_its_code() -> None:
    error = ferry_error(driver_s("22P02", "ungültige Eingabesyntax für Typ integer: »a«"))
    assert error.found == ("invalid text representation, told in another language (SQLSTATE 22P02)")


def test_names_in_quotes_of_any_language_make_no_other_error() -> None:
    for pair in ('"{}"', "»{}«", "«{}»", "« {} »", "„{}“"):
        name = pair.format("could not open relation with oid")
        error = ferry_error(driver_s("42P01", f"Relation {name} existiert nicht"))
        assert type(error) is SchemaError


@pytest.mark.parametrize(
    ("context", "place"),
    [
        ('COPY stg_1, line 2, column age: "s3cret"', "line 2, column age"),
        ("COPY stg_1, Zeile 2, Spalte age: »s3cret, Zeile 9«", "line 2, column age"),
        ("COPY stg_1, ligne 2, colonne age : « s3cret »", "line 2, column age"),
        ("COPY stg_1, 行 2, 列 age: NULL", "line 2, column age"),
        ("COPY stg_1, línea 2, columna s3cret: «x»", "line 2"),
        ("COPY stg_1, строка 2", "line 2"),
        ('COPY stg_1, line 2: "s3cret\nCOPY x, line 7"', "line 2"),
        (
            'JSON-Daten, Zeile 1: {"s3cret…\nCOPY stg_1, Zeile 2, Spalte age: »{…«',
            "line 2, column age",
        ),
        (
            'JSON data, line 1: {"s3cret, line 5\nCOPY stg_1, line 2, column age: "{"',
            "line 2, column age",
        ),
        ("PL/pgSQL function guard() line 3 at RAISE", ""),
        ("", ""),
    ],
)
def test_where_a_value_did_not_load_is_told_in_most_languages(context: str, place: str) -> None:
    error: Any = SimpleNamespace(diag=SimpleNamespace(context=context))
    assert load_position(error, ["id", "age"]) == place
