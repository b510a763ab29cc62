"""What a warehouse can do, as a record that the write algorithms look at.

They never ask for an engine's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from ferry.batch import StageFormat
from ferry.schema import Kind


@dataclass(frozen=True)
class Capabilities:
    """One engine's abilities and limits.

    Attributes:
        stage_formats: What it can load from the stage, the preferred one first.
        max_identifier_bytes: Longer names are refused, never cut.
        max_text_bytes: The most bytes a text value can have, and a text within JSON that is kept
            parsed; None for no limit.
        max_columns: The most columns a table can have.
        dialect: Which SQL it speaks, as sqlglot names it; what is written in Redshift's is
            translated to it.
        not_in_parquet: Kinds that it does not read from Parquet: a table that has one is staged as
            CSV, which it then has to load, too.
        max_binary_bytes: The most bytes a binary value can have; None for no limit.
        lock_mode: What follows `LOCK TABLE <name>` to make other writers wait; None where the
            engine has no LOCK.
        sort_and_dist_keys: Whether CREATE TABLE takes SORTKEY and DISTKEY.
        declares_keys: Whether CREATE TABLE is to name a primary key that the source vouches for:
            the engine does not enforce it, but plans with it.
        max_index_bytes: The most bytes a key can have in an index; 0 where there are no indexes.
        not_grouped: Kinds that GROUP BY is not known to take.
        pads_text: Whether comparing text ignores trailing blanks, so that equality alone does not
            see a change in them.
        widens_text: Whether a column's VARCHAR length can be raised, and has to be.
        alters_types: Whether ALTER COLUMN … TYPE takes any type; where not, a column of another
            type is filled and swapped for the old one.
        parses_json: The function that makes JSON of text, where a cast would make a string of it.
        writes_json: The function that makes text of JSON, where a cast makes NULL of an object.
        unbound_view: What ends the CREATE of a view that is not bound to its tables' columns;
            empty where all views are, or none.
        staging_table_kind: What stands between CREATE and TABLE for a staging table, such as
            UNLOGGED, so that loading it costs less.
        hex_prefix: What has to stand before the hex digits of a binary value in a CSV file.
        empty_binary_in_csv: Whether an empty binary value in a CSV file stays one, and is no NULL.
        json_digits: The most digits that it keeps of a number within JSON, where it keeps JSON
            parsed, so that a repeated key loses a value; None where it keeps the text.
        digests_bytes: Whether it can make a digest of a binary value of any length; where not, the
            lengths of values that may be long are compared.
        nul_in_text: Whether a text can have a NUL character in it.
        deletes_using: Whether a DELETE joins another table by USING; where not, it asks by EXISTS.
        tells_case: Whether names that differ in upper and lower case alone are two.
        reserved_columns: Names, in lower case, that no column of a table can have.
        means_otherwise: What of a translated query would mean something else in it, without an
            error, by the names in `ferry/summaries/translated.py`; a query that has one is refused.
    """

    stage_formats: tuple[StageFormat, ...]
    max_identifier_bytes: int
    max_text_bytes: int | None
    max_columns: int
    dialect: str
    not_in_parquet: frozenset[Kind] = frozenset()
    max_binary_bytes: int | None = None
    lock_mode: str | None = None
    sort_and_dist_keys: bool = False
    declares_keys: bool = False
    max_index_bytes: int = 0
    not_grouped: frozenset[Kind] = frozenset()
    pads_text: bool = False
    widens_text: bool = False
    alters_types: bool = False
    parses_json: str = ""
    writes_json: str = ""
    unbound_view: str = ""
    staging_table_kind: str = ""
    hex_prefix: str = ""
    empty_binary_in_csv: bool = True
    json_digits: int | None = None
    digests_bytes: bool = True
    nul_in_text: bool = False
    deletes_using: bool = True
    tells_case: bool = False
    reserved_columns: frozenset[str] = frozenset()
    means_otherwise: frozenset[str] = frozenset()
