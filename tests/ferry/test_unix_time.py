"""Unix time: bounds of windows as whole numbers, none lost between two of them."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import DataError
from ferry.unix_time import UnixUnit, from_unix, to_unix

UNITS: tuple[UnixUnit, ...] = ("s", "ms", "us")
moments = st.datetimes(
    datetime(1900, 1, 1),
    datetime(2200, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(-timedelta(hours=3.5))]),
)


@pytest.mark.parametrize(
    ("unit", "number"), [("s", 1672912800), ("ms", 1672912800000), ("us", 1672912800000000)]
)
def test_a_moment_is_its_number_in_each_unit(unit: UnixUnit, number: int):
    moment = datetime(2023, 1, 5, 19, tzinfo=timezone(timedelta(hours=9)))

    assert to_unix(moment, unit) == number
    assert from_unix(number, unit) == from_unix(Decimal(number), unit) == moment


@given(number=st.integers(-(10**9), 10**10), unit=st.sampled_from(UNITS))
def test_there_and_back_is_exact(number: int, unit: UnixUnit):
    assert to_unix(from_unix(number, unit), unit) == number


@given(bound=moments, number=st.integers(-3, 3), unit=st.sampled_from(UNITS))
def test_a_number_is_before_a_bound_exactly_if_its_moment_is(
    bound: datetime, number: int, unit: UnixUnit
):
    near = to_unix(bound, unit) + number

    assert (near < to_unix(bound, unit)) == (from_unix(near, unit) < bound)


@pytest.mark.parametrize("value", [10**15, -(10**15), Decimal(10) ** 40, Decimal("NaN")])
def test_a_number_that_is_no_moment_is_refused_without_telling_it(value: int | Decimal):
    with pytest.raises(DataError) as refused:
        from_unix(value, "s")

    assert "Unix time in seconds" in str(refused.value)
    assert "cursor_unit" in str(refused.value)
    assert str(value) not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        to_unix(datetime(2023, 1, 5), "s")
