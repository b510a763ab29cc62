"""What people have set of a deployment in Prefect's UI, and how it comes through the next deploy.

`prefect deploy` makes everything as the file says: a pause is undone, a cron or a limit that
somebody changed is the file's again, an automation that was turned off is on. Here a setting is a
person's if it is not what the file said at the last deploy. It stays, unless the file says
something else now. What the file leaves to be filled in, `{{ … }}`, or did at the last deploy, is
the file's: what Prefect has filled in looks as if somebody had set it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.types import MAX_VARIABLE_VALUE_LENGTH

Settings = dict[str, Any]
"""A deployment's settings by what they are called: `paused`, `schedule every-hour: active`."""

ABSENT: Final = "absent"
"""What a setting is that is not there: a schedule that was deleted."""

AUTOMATION = "automation "
JOB = "job variables"
ENV = "env"
TEMPLATE = "{{"
WHEN, ACTIVE, PARAMETERS = "when", "active", "parameters"
_KINDS = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
_PAUSES = {"paused": True, f": {ACTIVE}": False, ": enabled": False}


def file_settings(deployment: Mapping[str, Any]) -> Settings:
    """What `prefect.yaml` says of a deployment."""
    pool = deployment.get("work_pool", {})
    found: Settings = {
        "paused": bool(deployment.get("paused")),
        "parameters": deployment.get("parameters") or {},
        "tags": sorted(deployment.get("tags") or []),
        "concurrency limit": _limit_in_file(deployment.get("concurrency_limit")),
        "work pool": [pool.get("name"), pool.get("work_queue_name") or "default"],
    }
    found |= _job_variables(pool.get("job_variables") or {})
    if deployment.get("description"):
        found["description"] = deployment["description"].strip()
    for schedule in deployment.get("schedules") or []:
        (kind,) = (kind for kind in _KINDS if kind in schedule)
        fields = (kind, "timezone", "day_or", "anchor_date")
        when = _KINDS[kind](**{name: schedule[name] for name in fields if name in schedule})
        active, parameters = schedule.get("active"), schedule.get("parameters")
        found |= _schedule(schedule["slug"], when, active is not False, parameters)
    for trigger in deployment.get("triggers") or []:
        found[_automation(trigger["name"])] = trigger.get("enabled", True)
    return found


def server_settings(deployment: DeploymentResponse, automations: Mapping[str, bool]) -> Settings:
    """What is set of a deployment now, and which of its automations are enabled."""
    limit, options = deployment.global_concurrency_limit, deployment.concurrency_options
    found: Settings = {
        "paused": deployment.paused,
        "parameters": deployment.parameters,
        "tags": sorted(deployment.tags),
        "concurrency limit": None
        if limit is None
        else _limit(limit.limit, options.model_dump(mode="json") if options else {}),
        "work pool": [deployment.work_pool_name, deployment.work_queue_name],
        "description": (deployment.description or "").strip(),
    }
    found |= _job_variables(deployment.job_variables or {})
    for number, each in enumerate(deployment.schedules):
        slug = each.slug or f"without a name, number {number + 1}"
        found |= _schedule(slug, each.schedule, each.active, each.parameters)
    return found | {_automation(name): enabled for name, enabled in automations.items()}


def digests(settings: Settings) -> dict[str, str]:
    """What is remembered of the settings that a file had, to see what has changed since.

    What was to be filled in is marked as that. Where it is more than one of Prefect's variables
    holds, as of some seventy variables of the environment, all job variables have one digest.
    """
    each = _digest_of_each(settings)
    if len(json.dumps(each)) <= MAX_VARIABLE_VALUE_LENGTH:
        return each
    others = {name: one for name, one in each.items() if not name.startswith(f"{JOB}: ")}
    return others | {JOB: _digest(_together(settings))}


def kept(file: Settings, there: Settings, last: Mapping[str, str] | None) -> Settings:
    """The settings that stay as people have set them.

    Args:
        file: What the file says now.
        there: What is set now.
        last: The digests of what it said at the last deploy; None if nobody knows. Then pauses
            stay, and schedules, job variables and parts of their `env` that the file has not.
    """
    stay: Settings = {}
    there = _but_for_what_is_filled_in(there, file, last)
    last = _of_each_variable(last, file, there) if last is not None else None
    for name in dict.fromkeys([*file, *there]):
        said, now = file.get(name, ABSENT), there.get(name, ABSENT)
        if _digest(said) == _digest(now) or (name == "description" and name not in file):
            continue
        # Prefect deletes a deployment's automations and makes them anew: one that is not there was
        # perhaps never made again. People turn one off.
        if now is ABSENT and name.startswith(AUTOMATION):
            continue
        if last is None:
            paused = any(name.endswith(end) and now is value for end, value in _PAUSES.items())
            if paused or said is ABSENT:
                stay[name] = now
        elif _last(name, last) == _digest(said):
            stay[name] = now
    return stay


def overruled(
    file: Settings, there: Settings, last: Mapping[str, str] | None, stay: Settings
) -> tuple[str, ...]:
    """The names of the settings that people have set and that are the file's again.

    Args:
        file: What the file says now.
        there: What is set now.
        last: The digests of what it said at the last deploy; None if nobody knows, nor who has set
            what.
        stay: The settings that stay.
    """
    there = _but_for_what_is_filled_in(there, file, last)
    last = _of_each_variable(last, file, there) if last is not None else _digest_of_each(there)
    return tuple(
        name
        for name in dict.fromkeys([*file, *there])
        if name not in stay
        and (name in file or name != "description")
        and (name in there or not name.startswith(AUTOMATION))
        and (now := _digest(there.get(name, ABSENT))) != _digest(file.get(name, ABSENT))
        and now != _last(name, last)
        and (_is_filled_in(file.get(name)) or not _was_filled_in(name, last))
    )


def fitting(
    stay: Settings, file: Settings, known: Collection[str]
) -> tuple[Settings, tuple[str, ...]]:
    """The settings that stay, but for parameters that the flow does not take any more.

    With one that another version has renamed each run would fail before it begins.

    Args:
        stay: The settings that stay.
        file: What the file says now.
        known: The parameters that the flow takes.

    Returns:
        Those that stay then, and the names of the parameters that were left out.
    """
    fits, unknown = dict(stay), set[str]()
    for name, value in stay.items():
        of_parameters = name == PARAMETERS or name.endswith(f": {PARAMETERS}")
        if not of_parameters or not isinstance(value, dict) or value.keys() <= set(known):
            continue
        unknown |= value.keys() - set(known)
        fits[name] = {each: given for each, given in value.items() if each in known}
        if _digest(fits[name]) == _digest(file.get(name, ABSENT)):
            del fits[name]
    return fits, tuple(sorted(unknown))


def with_settings(deployment: dict[str, Any], stay: Settings) -> dict[str, Any]:
    """The deployment as the file says it, but for the settings that stay."""
    merged: dict[str, Any] = json.loads(json.dumps(deployment))  # nothing shared with another one
    pool = merged.setdefault("work_pool", {})
    for name, value in stay.items():
        if name in ("paused", "parameters", "tags", "description"):
            merged[name] = value
        elif name == "concurrency limit":
            merged["concurrency_limit"] = value
        elif name.startswith(f"{JOB}: "):
            variables = pool["job_variables"] = pool.get("job_variables") or {}
            _set_variable(variables, name.removeprefix(f"{JOB}: "), value)
        elif name == "work pool":
            pool["name"], pool["work_queue_name"] = value
    merged["schedules"] = list(_schedules(merged.get("schedules") or [], stay))
    triggers = merged.get("triggers") or []
    for trigger in triggers:
        trigger["enabled"] = stay.get(_automation(trigger["name"]), trigger.get("enabled", True))
    merged["triggers"] = triggers
    return merged


def _job_variables(given: Mapping[str, Any]) -> Settings:
    """Each of them by itself, of the environment too: who has set one has not set the others."""
    each = dict(given)
    if isinstance(each.get(ENV), dict):
        each |= {f"{ENV}.{name}": value for name, value in each.pop(ENV).items()}
    return {f"{JOB}: {name}": value for name, value in each.items()}


def _set_variable(variables: dict[str, Any], name: str, value: Any) -> None:
    if name.startswith(f"{ENV}.") and isinstance(variables.setdefault(ENV, {}), dict):
        variables, name = variables[ENV], name.removeprefix(f"{ENV}.")
    if value is ABSENT:
        variables.pop(name, None)
    else:
        variables[name] = value


def _of_each_variable(
    last: Mapping[str, str], file: Settings, there: Settings
) -> Mapping[str, str]:
    """What is remembered, of each job variable: many are remembered as one.

    So that is known of each where the file, or what is there, is as it was at the last deploy.
    """
    if JOB not in last:
        return last
    of_both: dict[str, str] = {}
    for settings in (file, there):
        named = {name: value for name, value in settings.items() if name.startswith(f"{JOB}: ")}
        if _digest(_together(settings)) == last[JOB]:
            return {**last, **_digest_of_each(named)}
        of_both |= dict.fromkeys(named, "")
    return {**last, **of_both}


def _together(settings: Settings) -> dict[str, Any]:
    """The job variables as one."""
    variables: dict[str, Any] = {}
    for name, value in settings.items():
        if name.startswith(f"{JOB}: "):
            _set_variable(variables, name.removeprefix(f"{JOB}: "), value)
    return variables


def _digest_of_each(settings: Settings) -> dict[str, str]:
    marks = {name: TEMPLATE if _is_filled_in(value) else "" for name, value in settings.items()}
    return {name: marks[name] + _digest(value) for name, value in settings.items()}


def _but_for_what_is_filled_in(
    there: Settings, file: Settings, last: Mapping[str, str] | None
) -> Settings:
    """What is there; as the file says it what Prefect fills in at each deploy.

    Not where the file said something of its own at the last deploy: then somebody may have set it.
    """
    filled = {name: said for name, said in file.items() if _is_filled_in(said)}
    parts = tuple(f"{name}." for name in filled)  # of an environment that is filled in whole
    there = {name: now for name, now in there.items() if not name.startswith(parts)}
    for name, said in filled.items():
        if (
            last is None
            or (JOB in last and name.startswith(JOB))  # remembered as one
            or _was_filled_in(name, last)
            or _last(name, last) == _digest(said)
        ):
            there[name] = _as_in_file(said, there.get(name))
    return there


def _last(name: str, last: Mapping[str, str]) -> str:
    """The digest of what the file said at the last deploy; none of a part of what was filled in."""
    return _remembered(name, last).removeprefix(TEMPLATE)


def _was_filled_in(name: str, last: Mapping[str, str]) -> bool:
    return _remembered(name, last).startswith(TEMPLATE)


def _remembered(name: str, last: Mapping[str, str]) -> str:
    environment = f"{JOB}: {ENV}"
    is_part = name.startswith(f"{environment}.")
    if is_part and last.get(environment, "").startswith(TEMPLATE):
        return TEMPLATE
    return last.get(name, _digest(ABSENT))


def _as_in_file(said: Any, now: Any) -> Any:
    if not (isinstance(said, dict) and isinstance(now, dict)):
        return said
    filled = {name: each for name, each in said.items() if _is_filled_in(each)}
    return {**now, **{name: _as_in_file(each, now.get(name)) for name, each in filled.items()}}


def _is_filled_in(said: Any) -> bool:
    return TEMPLATE in json.dumps(said)


def _schedules(in_file: list[dict[str, Any]], stay: Settings) -> Iterator[dict[str, Any]]:
    """The file's schedules, and those that people have made; without those they have deleted."""
    by_slug = {schedule["slug"]: dict(schedule) for schedule in in_file}
    for name, value in stay.items():
        if name.startswith("schedule "):
            slug, aspect = name.removeprefix("schedule ").rsplit(": ", 1)
            schedule = by_slug.setdefault(slug, {"slug": slug})
            if aspect == WHEN:
                for kind in (*_KINDS, "timezone", "day_or"):
                    schedule.pop(kind, None)
                schedule.update({WHEN: ABSENT} if value is ABSENT else value)
            elif value is not ABSENT:
                schedule[aspect] = value
    for schedule in by_slug.values():
        if schedule.get(WHEN) is ABSENT or not _KINDS.keys() & schedule.keys():
            continue
        if schedule["slug"].startswith("without a name"):
            del schedule["slug"]
        yield schedule


def _schedule(slug: str, when: Any, active: bool, parameters: Any) -> Settings:
    return {
        f"schedule {slug}: {WHEN}": when.model_dump(mode="json"),
        f"schedule {slug}: {ACTIVE}": active,
        f"schedule {slug}: {PARAMETERS}": parameters or {},
    }


def _automation(name: str) -> str:
    return f"{AUTOMATION}{name}: enabled"


def _limit_in_file(limit: int | dict[str, Any] | None) -> Settings | None:
    if isinstance(limit, dict):
        return _limit(limit.get("limit"), limit)
    return _limit(limit, {})


def _limit(limit: int | None, options: Mapping[str, Any]) -> Settings | None:
    if limit is None:
        return None
    found = {"limit": limit, "collision_strategy": options.get("collision_strategy") or "ENQUEUE"}
    grace = options.get("grace_period_seconds")
    return found | ({"grace_period_seconds": grace} if grace else {})


def _digest(value: Any) -> str:
    if isinstance(value, dict):  # an interval's anchor is the moment of its deploy
        value = {name: each for name, each in value.items() if name != "anchor_date"}
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
