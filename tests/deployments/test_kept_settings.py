"""Which settings stay at a deploy, and what Prefect is given then."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.types import check_variable_value

from deployments.kept_settings import (
    ABSENT,
    TEMPLATE,
    digests,
    file_settings,
    fitting,
    kept,
    overruled,
    with_settings,
)

DEPLOYMENT: dict[str, Any] = {
    "name": "daily",
    "entrypoint": "flows.sync_all.sync_all",
    "parameters": {"every": "day"},
    "tags": ["ferry-watched"],
    "work_pool": {
        "name": "ferry-pool",
        "job_variables": {"image": "ferry", "env": {"A": "1"}},
    },
    "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
    "schedules": [{"cron": "0 9 * * *", "timezone": "UTC", "slug": "every-morning"}],
    "triggers": [{"name": "of failed runs", "expect": ["x"]}],
}
WHEN = "schedule every-morning: when"
ACTIVE = "schedule every-morning: active"
SAID = file_settings(DEPLOYMENT)
LAST = digests(SAID)
CHANGED: dict[str, Any] = {
    "paused": True,
    "parameters": {"every": "day", "zone": "Asia/Tokyo"},
    "tags": ["mine"],
    "concurrency limit": {"limit": 3, "collision_strategy": "ENQUEUE"},
    "work pool": ["ferry-pool", "later"],
    "job variables: image": "theirs",
    "job variables: env.A": "2",
    WHEN: {"cron": "0 8 * * *", "timezone": "UTC", "day_or": True},
    ACTIVE: False,
    "schedule every-morning: parameters": {"every": "hour"},
    "automation of failed runs: enabled": False,
}


def test_the_table_of_changes_has_every_setting() -> None:
    assert set(CHANGED) == set(SAID)


@pytest.mark.parametrize("name", CHANGED)
def test_what_people_have_changed_stays_and_the_next_deploy_says_so(name: str) -> None:
    stay = kept(SAID, {**SAID, name: CHANGED[name]}, LAST)
    assert stay == {name: CHANGED[name]}
    assert file_settings(with_settings(DEPLOYMENT, stay)) == {**SAID, name: CHANGED[name]}


@pytest.mark.parametrize("name", CHANGED)
def test_what_the_file_says_anew_goes_before_what_people_have_changed(name: str) -> None:
    before = digests({**SAID, name: "something else"})
    assert kept(SAID, {**SAID, name: CHANGED[name]}, before) == {}


def test_what_nobody_has_changed_follows_the_file() -> None:
    assert kept(file_settings({**DEPLOYMENT, "tags": []}), SAID, LAST) == {}


def test_a_pause_outlives_another_cron_in_the_file() -> None:
    schedule = {**DEPLOYMENT["schedules"][0], "cron": "0 10 * * *"}
    new = {**DEPLOYMENT, "schedules": [schedule]}
    stay = kept(file_settings(new), {**SAID, ACTIVE: False}, LAST)
    (merged,) = with_settings(new, stay)["schedules"]
    assert merged == {**schedule, "active": False}


def test_before_anything_is_remembered_pauses_stay_and_what_the_file_does_not_know() -> None:
    extra = {
        "schedule mine: when": {"cron": "0 1 * * *", "timezone": "UTC", "day_or": True},
        "schedule mine: active": True,
        "schedule mine: parameters": {},
    }
    stay = kept(SAID, {**CHANGED, **extra}, None)
    pauses = {"paused", ACTIVE, "automation of failed runs: enabled"}
    assert set(stay) == pauses | set(extra)
    assert [each["slug"] for each in with_settings(DEPLOYMENT, stay)["schedules"]] == [
        "every-morning",
        "mine",
    ]


def test_a_schedule_that_people_deleted_stays_away_and_one_that_the_file_deleted_goes() -> None:
    without = file_settings({**DEPLOYMENT, "schedules": []})
    stay = kept(SAID, without, LAST)
    assert stay[WHEN] is ABSENT
    assert with_settings(DEPLOYMENT, stay)["schedules"] == []
    assert kept(without, SAID, LAST) == {}


def test_an_automation_that_is_not_there_is_made_again() -> None:
    """Prefect deletes them at each deploy, then makes them anew: a deploy may end in between."""
    name = "automation of failed runs: enabled"
    without = {each: value for each, value in SAID.items() if each != name}
    stay = kept(SAID, without, LAST)
    assert stay == {}
    assert file_settings(with_settings(DEPLOYMENT, stay)) == SAID


def test_a_parameter_that_the_flow_takes_no_more_does_not_stay() -> None:
    """With it each run would fail: a version may have renamed it."""
    name = "schedule every-morning: parameters"
    stay = {
        "parameters": {"every": "day", "zone": "Asia/Tokyo", "former": 1},
        name: {"former": 2},
        "tags": ["former"],
        "schedule mine: parameters": {"zone": "Asia/Tokyo"},
        "schedule gone: parameters": ABSENT,
    }
    fits, left_out = fitting(stay, SAID, {"every", "zone"})
    assert left_out == ("former",)
    assert fits == {
        **{each: value for each, value in stay.items() if each != name},  # as the file says it
        "parameters": {"every": "day", "zone": "Asia/Tokyo"},
    }


def of_pool(**job_variables: Any) -> dict[str, Any]:
    return {**DEPLOYMENT, "work_pool": {"name": "ferry-pool", "job_variables": job_variables}}


def test_what_the_file_leaves_to_be_filled_in_is_the_file_s_at_each_deploy() -> None:
    """The server has what it was filled in with: nobody has set that, and the next image is due."""
    templates = of_pool(image="{{ build_image.image }}", env={"TAG": "{{ $TAG }}", "A": "1"})
    templates |= {"parameters": {"zone": "{{ prefect.variables.zone }}"}}
    templates["work_pool"]["name"] = "{{ $POOL }}"
    filled = file_settings(of_pool(image="ferry:v1", env={"TAG": "v1", "A": "theirs"}))
    filled |= {"parameters": {"zone": "UTC"}, "work pool": ["of-old", "default"]}
    said = file_settings(templates)
    stay = kept(said, filled, digests(said))
    assert stay == {"job variables: env.A": "theirs"}
    assert overruled(said, filled, digests(said), stay) == ()


def test_an_environment_that_is_filled_in_whole_is_the_file_s() -> None:
    said = file_settings(of_pool(image="ferry", env="{{ $ENVS }}"))
    assert kept(said, SAID, digests(said)) == {}
    assert overruled(said, SAID, digests(said), {}) == ()


FILLED = {"A": "filled", "B": "filled"}


@pytest.mark.parametrize(
    ("before", "there", "now"),
    [
        ({"env": "{{ $ENVS }}"}, {"env": FILLED}, {"env": {"A": "1"}}),
        ({"env": "{{ $ENVS }}"}, {"env": FILLED}, {"env": {"A": "{{ $A }}"}}),
        ({"env": "{{ $ENVS }}"}, {"env": FILLED}, {}),
        ({"env": {"A": "{{ $A }}", "B": "{{ $B }}"}}, {"env": FILLED}, {"env": {"B": "2"}}),
        ({"image": "{{ image }}"}, {"image": "filled"}, {"image": "ferry:v2"}),
        ({"image": "{{ image }}"}, {"image": "filled"}, {"image": "{{ other }}"}),
        ({"image": "{{ image }}"}, {"image": "filled"}, {}),
        ({"env": {"A": "1"}}, {"env": {"A": "1"}}, {"env": "{{ $ENVS }}"}),
        ({"env": {"A": "1"}}, {"env": {"A": "1"}}, {"env": {"A": "{{ $A }}"}}),
        ({"image": "ferry:v1"}, {"image": "ferry:v1"}, {"image": "{{ image }}"}),
    ],
)
def test_what_was_filled_in_is_nobody_s_when_the_file_says_another_thing(
    before: dict[str, Any], there: dict[str, Any], now: dict[str, Any]
) -> None:
    last, said = digests(file_settings(of_pool(**before))), file_settings(of_pool(**now))
    stay = kept(said, file_settings(of_pool(**there)), last)
    assert stay == {}
    assert overruled(said, file_settings(of_pool(**there)), last, stay) == ()


def test_what_people_have_set_is_named_when_the_file_leaves_it_to_be_filled_in() -> None:
    last = digests(file_settings(of_pool(image="ferry", env={"A": "1", "B": "1"})))
    there = file_settings(of_pool(image="theirs", env={"A": "theirs", "B": "1"}))
    said = file_settings(of_pool(image="{{ image }}", env={"A": "{{ $A }}", "B": "{{ $B }}"}))
    assert kept(said, there, last) == {}
    assert overruled(said, there, last, {}) == ("job variables: image", "job variables: env.A")


def test_an_earlier_version_did_not_remember_what_was_filled_in() -> None:
    said = file_settings(of_pool(image="{{ image }}"))
    now = digests(said)
    last = {name: each.removeprefix(TEMPLATE) for name, each in now.items()}
    assert last != now
    filled = file_settings(of_pool(image="ferry:v1"))
    assert kept(said, filled, last) == {}
    assert overruled(said, filled, last, {}) == ()


def test_beside_what_is_filled_in_parameters_stay_as_people_have_set_them() -> None:
    def told(retries: int) -> dict[str, Any]:
        return {**DEPLOYMENT, "parameters": {"table": "{{ t }}", "retries": retries}}

    there = {**SAID, "parameters": {"table": "orders", "retries": 5}}
    said, last = file_settings(told(1)), digests(file_settings(told(1)))
    stay = kept(said, there, last)
    assert stay == {"parameters": {"table": "{{ t }}", "retries": 5}}
    assert with_settings(told(1), stay)["parameters"] == stay["parameters"]
    assert overruled(said, there, last, stay) == ()

    anew = file_settings(told(2))
    assert kept(anew, there, last) == {}
    assert overruled(anew, there, last, {}) == ("parameters",)
    assert overruled(anew, there, None, {}) == ()  # nobody knows who has set what


def test_a_job_variable_that_the_file_changes_leaves_the_others_as_people_have_set_them() -> None:
    before = of_pool(env={"A": "1", "B": "1", "D": "1"})
    now = of_pool(env={"A": "2", "B": "2", "D": "1"}, cpu=1)
    theirs = file_settings(of_pool(image="theirs", env={"A": "1", "B": "theirs", "C": "theirs"}))
    last = digests(file_settings(before))
    stay = kept(file_settings(now), theirs, last)
    assert with_settings(now, stay)["work_pool"]["job_variables"] == {
        "image": "theirs",
        "cpu": 1,
        "env": {"A": "2", "B": "2", "C": "theirs"},  # D was deleted
    }
    assert overruled(file_settings(now), theirs, last, stay) == ("job variables: env.B",)


@pytest.mark.parametrize("env", [None, [{"name": "A", "value": "2"}], "{{ of the pool }}"])
def test_an_environment_of_another_shape_stays_whole(env: Any) -> None:
    stay = kept(SAID, file_settings(of_pool(image="ferry", env=env)), LAST)
    variables = with_settings(DEPLOYMENT, stay)["work_pool"]["job_variables"]
    assert variables == {"image": "ferry", "env": env}


def test_what_an_earlier_version_remembered_of_job_variables_is_understood() -> None:
    """It remembered all of them as one, as this one does where they are many."""
    last = {name: each for name, each in LAST.items() if not name.startswith("job variables: ")}
    last |= digests({"job variables": DEPLOYMENT["work_pool"]["job_variables"]})
    name = "job variables: env.A"
    assert kept(SAID, {**SAID, name: "2"}, last) == {name: "2"}
    changed = file_settings(of_pool(image="ferry", env={"A": "3"}))
    assert kept(changed, {**SAID, name: "2", "job variables: image": "theirs"}, last) == {}

    dropped = file_settings(of_pool(image="ferry"))  # by the file, and nobody has set any
    assert kept(dropped, SAID, last) == {}
    assert overruled(dropped, SAID, last, {}) == ()
    theirs = {**SAID, "job variables: env.B": "theirs"}
    assert kept(dropped, theirs, last) == {}
    assert "job variables: env.B" in overruled(dropped, theirs, last, {})


def test_of_five_hundred_variables_what_people_have_changed_stays_too() -> None:
    many = of_pool(env={f"NAME_OF_A_VARIABLE_{number}": "1" for number in range(500)})
    said = file_settings(many)
    check_variable_value(last := digests(said))
    name = "job variables: env.NAME_OF_A_VARIABLE_7"
    assert kept(said, {**said, name: "theirs"}, last) == {name: "theirs"}

    changed = {**said, "job variables: env.NAME_OF_A_VARIABLE_8": "2"}
    assert kept(changed, said, last) == {}
    assert overruled(changed, said, last, {}) == ()
    assert kept(changed, {**said, name: "theirs"}, last) == {}
    assert overruled(changed, {**said, name: "theirs"}, last, {}) == (
        name,
        "job variables: env.NAME_OF_A_VARIABLE_8",
    )


def test_one_deployment_s_settings_are_no_other_s() -> None:
    shared = {"env": {"A": "1"}}
    one = {**DEPLOYMENT, "work_pool": {"name": "p", "job_variables": shared}}
    with_settings(one, {})["work_pool"]["job_variables"]["env"]["B"] = 1
    with_settings(one, {"job variables: env.B": "1"})
    assert shared == {"env": {"A": "1"}}
