from ferry.schema import TableName
from ferry.target.key_index import key_index_name


def name_of(table: str, *indexes: tuple[str, str]) -> str | None:
    return key_index_name(TableName("raw_data", table), indexes)


def test_tables_whose_names_begin_alike_have_indexes_of_other_names():
    names = [name_of("a" * 50 + end) for end in ("", "_one", "_two")]
    assert len(set(names)) == 3
    assert all(name and len(name) < 61 and name.endswith("_ferry_key") for name in names)


def test_a_table_that_has_one_of_ours_gets_no_other():
    assert name_of("t", ("t", "t_ferry_key")) is None  # as an older Ferry called it
    assert name_of("t", ("t", str(name_of("t")))) is None


def test_the_index_of_a_renamed_table_is_not_in_the_way():
    first = str(name_of("t"))
    second = name_of("t", ("t_old", first), ("t", "t_pkey"))
    assert second == f"{first}_2"
    assert name_of("t", ("t_old", first), ("t_older", f"{first}_2")) == f"{first}_3"
