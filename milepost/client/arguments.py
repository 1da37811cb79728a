"""Turns the arguments of the Python interface into REST values; refuses a bad one by the name that the caller used."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from numbers import Integral
from typing import Any, TypeAlias, TypedDict, TypeVar

from milepost.client.errors import InvalidField, NotFound
from milepost.client.models import GoalStatus
from milepost.client.records import read_float
from milepost.client.transport import Id, encode

Amount: TypeAlias = Decimal | float | int | str
"""An amount or a percentage. A string is a plain decimal; a float is the number that it shows, to a millionth."""
Moment: TypeAlias = datetime | date | str
"""A moment, also as a date or as ISO 8601 text, as over REST. Without a time zone it is UTC.

A deadline or a target date that is a date, or a midnight without a time zone, is that whole local day.
"""

Choice = TypeVar("Choice", bound=StrEnum)
Given = TypeVar("Given")

GOALS = ("goals",)
ACCOUNTS = ("accounts",)
_DECIMALS = 6
_GOAL_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_KEY = re.compile(r"[\x20-\x7e]{1,200}")


class GoalChanges(TypedDict, total=False):
    """The arguments of update_goal: only what is given changes.

    None clears the description, the deadline, and what the application keeps for itself (the last four but version).

    With `version`, GoalMoved is raised and nothing changes unless the goal is at that version.
    """

    name: str
    description: str | None
    target_amount: Amount
    current_amount: Amount
    deadline: Moment | None
    status: GoalStatus | str
    external_id: str | None
    metadata: Mapping[str, Any] | None
    position: int | None
    image_url: str | None
    version: int


class NewMilestone(TypedDict, total=False):
    """A milestone that a goal has from the start; `amount` is needed."""

    amount: Amount
    description: str | None
    target_date: Moment | None


class MilestoneChanges(TypedDict, total=False):
    """The arguments of update_milestone: only what is given changes; None clears the description and the date."""

    amount: Amount
    description: str | None
    target_date: Moment | None


class EndpointChanges(TypedDict, total=False):
    """The arguments of update_endpoint: only what is given changes; None clears the types, description and rate."""

    url: str
    types: str | Iterable[str] | None
    description: str | None
    rate: int | None
    enabled: bool


# What a goal has had since its creation; no other name was ever that of an argument.
_DETAILS = ("external_id", "metadata", "position", "image_url")
_FIXED = frozenset({"user_id", "type", "goal_type", "currency", "tracking", "start_date", "auto_complete"})


def number(field: str, value: Any) -> Decimal | str:
    """An amount or a percentage, exact; raises InvalidField for NaN, infinities, and what is not a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, Decimal | float | Integral):
        raise InvalidField.of(field, "must be a number or a decimal string")
    exact = value if isinstance(value, Decimal) else _decimal(value)
    if not exact.is_finite():
        raise InvalidField.of(field, "must be a finite number")
    return Decimal(exact)


def text(field: str, value: Any) -> str:
    """Text as it is; raises InvalidField for other kinds, bytes among them."""
    if not isinstance(value, str):
        raise InvalidField.of(field, "must be text")
    return value


def optional_text(field: str, value: Any) -> str | None:
    """Text as it is, or None; raises InvalidField for other kinds."""
    return None if value is None else text(field, value)


def flag(field: str, value: Any) -> bool:
    """True or False; raises InvalidField for other kinds."""
    if not isinstance(value, bool):
        raise InvalidField.of(field, "must be True or False")
    return value


def moment(field: str, value: Any) -> str | None:
    """A moment as text: in UTC, or without an offset if it has no time zone; raises InvalidField for other kinds."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat()
        try:
            aware = value.astimezone(UTC)
        except OverflowError:
            raise InvalidField.of(field, "is out of range") from None
        return aware.isoformat().removesuffix("+00:00") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    raise InvalidField.of(field, "must be a datetime, a date or text such as 2026-01-31T12:00:00Z")


def choice(field: str, kind: type[Choice], value: Any, *, offered: Iterable[Choice] | None = None) -> str:
    """The value of an enumeration, given as its member or as text; raises InvalidField.

    The refusal lists all members, or those that are `offered`; the others are left to Milepost to refuse.
    """
    try:
        return kind(value).value
    except ValueError:
        raise InvalidField.of(field, f"must be one of {', '.join(offered or kind)}") from None


def one_of(name: str, value: Given | None, other_name: str, other: Given | None) -> Given | None:
    """The value that was given under either of two names; raises InvalidField if both were given and differ."""
    if value is None or other is None:
        return other if value is None else value
    if value != other:
        raise InvalidField.of(other_name, f"is another spelling of {name}, which says something else")
    return value


def needed(name: str, value: Given | None) -> Given:
    """The argument; raises InvalidField if it is missing."""
    if value is None:
        raise InvalidField.of(name, "is missing")
    return value


def goal_path(goal_id: Any, *below: str) -> tuple[str, ...]:
    """The path of a goal or of something below it; raises NotFound for what cannot be the id of a goal."""
    if not isinstance(goal_id, str) or _GOAL_ID.fullmatch(goal_id) is None:
        raise NotFound.of("Goal", goal_id)
    return *GOALS, Id("Goal", goal_id), *below


def milestone_path(goal_id: Any, milestone_id: Any) -> tuple[str, ...]:
    """The path of a milestone; raises NotFound for what cannot be the id of one, or of a goal."""
    path = goal_path(goal_id, "milestones")
    return *path, segment("Milestone", milestone_id, slashes=False)


def account_path(goal_id: Any, account_id: Any) -> tuple[str, ...]:
    """The path of an account of a goal; raises NotFound for an id that no URL can name, of an account or a goal."""
    account = segment("Account", account_id)
    return goal_path(goal_id, "funding", account)


def segment(what: str, id: Any, *, slashes: bool = True) -> Id:
    """An id as a segment of a path; raises NotFound, saying `what` is not found, for one that no URL can name.

    An empty id, or one with . or .. between slashes, would lead to another address, such as that of the goal itself.
    """
    is_one = isinstance(id, str) and id and {".", ".."}.isdisjoint(id.split("/")) and _SURROGATE.search(id) is None
    if not is_one or ("/" in id and not slashes):
        raise NotFound.of(what, id)
    return Id(what, id)


def changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a change; raises InvalidField for a field that cannot change, TypeError for what is no field."""
    body = dict(given)
    for name in body:
        if name in _FIXED:
            known = ", ".join(GoalChanges.__annotations__)
            raise InvalidField.of(name, f"is not something that can change; there are: {known}")
    _refuse_unknown("Goals.update_goal", body, GoalChanges)
    for name in ("target_amount", "current_amount"):
        if name in body:
            body[name] = number(name, body[name])
    if "deadline" in body:
        body["deadline"] = moment("deadline", body["deadline"])
    if "status" in body:
        body["status"] = choice("status", GoalStatus, body["status"])
    if "name" in body:
        body["name"] = text("name", body["name"])
    if "description" in body:
        body["description"] = optional_text("description", body["description"])
    if "version" in body:
        body["version"] = whole_number("version", body["version"])
    return body | details(**{name: body[name] for name in _DETAILS if name in body})


def details(**given: Any) -> dict[str, Any]:
    """The part of a body that an application keeps with a goal for itself; raises InvalidField."""
    body = dict(given)
    for name in ("external_id", "image_url"):
        if name in body:
            body[name] = optional_text(name, body[name])
    if body.get("position") is not None:
        body["position"] = whole_number("position", body["position"])
    if body.get("metadata") is not None:
        body["metadata"] = json_object("metadata", body["metadata"])
    return body


def json_object(field: str, value: Any) -> dict[str, Any]:
    """A mapping that can be written as JSON; raises InvalidField for anything else."""
    if not isinstance(value, Mapping):
        raise InvalidField.of(field, "must be a dictionary")
    try:
        encode(value)
    except (TypeError, ValueError, RecursionError):
        raise InvalidField.of(field, "must hold only what JSON can hold") from None
    return dict(value)


def new_milestones(given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The milestones that a goal has from the start; raises InvalidField."""
    bodies = []
    for number_, each in enumerate(given):
        place = f"milestones.{number_}"
        if not isinstance(each, Mapping):
            raise InvalidField.of(place, 'must be a dictionary such as {"amount": 2500.00}')
        for name in each:
            if name not in NewMilestone.__annotations__:
                raise InvalidField.of(f"{place}.{name}", _not_known(str(name), NewMilestone))
        try:
            bodies.append(milestone_changes(each))
        except InvalidField as error:
            raise InvalidField(f"{place}.{error.message}", f"{place}.{error.field}") from None
    return bodies


def milestone_changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a change of a milestone; raises TypeError for what is no argument, and InvalidField."""
    body = dict(given)
    _refuse_unknown("Goals.update_milestone", body, MilestoneChanges)
    if "amount" in body:
        body["amount"] = number("amount", body["amount"])
    if "description" in body:
        body["description"] = optional_text("description", body["description"])
    if "target_date" in body:
        body["target_date"] = moment("target_date", body["target_date"])
    return body


def endpoint_changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a change of an endpoint; raises TypeError for what is no argument, and InvalidField."""
    body = dict(given)
    _refuse_unknown("Endpoints.update_endpoint", body, EndpointChanges)
    if "url" in body:
        body["url"] = text("url", body["url"])
    if body.get("types") is not None:
        types = body["types"]
        body["types"] = types.split(",") if isinstance(types, str) else [text("types", each) for each in types]
    if "description" in body:
        body["description"] = optional_text("description", body["description"])
    if body.get("rate") is not None:
        body["rate"] = whole_number("rate", body["rate"])
    if "enabled" in body:
        body["enabled"] = flag("enabled", body["enabled"])
    return body


def account_name(value: Any) -> str | None:
    """The name of an account, or None; says what is meant by a number in its place, which comes before the share."""
    if isinstance(value, Decimal | float | Integral) and not isinstance(value, bool):
        raise InvalidField.of("account_name", f"must be text; the share is allocation_percent={value}")
    return optional_text("account_name", value)


def whole_number(field: str, value: Any) -> int:
    """A whole number; raises InvalidField for other kinds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidField.of(field, "must be a whole number")
    return value


def query(**parameters: str | bool | int | None) -> dict[str, str]:
    """The query of a request with the parameters that are given; the name of one that is a keyword ends in _.

    Raises InvalidField for text that no URL can hold.
    """
    given = {name.removesuffix("_"): value for name, value in parameters.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, str) and _SURROGATE.search(value):
            raise InvalidField.of(name, "must not contain broken Unicode")
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


def idempotency_key(key: Any) -> str | None:
    """A key of the caller's choice; raises InvalidField."""
    if key is None or (isinstance(key, str) and _KEY.fullmatch(key)):
        return key
    raise InvalidField.of("idempotency_key", "must be 1 to 200 printable ASCII characters")


def _decimal(value: Any) -> Decimal:
    if not isinstance(value, float):
        return Decimal(int(value))
    # No amount or percentage has more than four decimals: what comes after the sixth is the error of a sum of floats.
    return _rounded(read_float(value))


def _rounded(number: Decimal) -> Decimal:
    exponent = number.as_tuple().exponent
    return round(number, _DECIMALS) if isinstance(exponent, int) and exponent < -_DECIMALS else number


def _not_known(name: str, known: type) -> str:
    """What a refusal says of a key that is not one of a TypedDict's, as the API says it of a field."""
    names = sorted(known.__annotations__)
    nearest = get_close_matches(name.lower(), names, 1)
    return f"is not known: did you mean {nearest[0]}?" if nearest else f"is not known: there are {', '.join(names)}"


def _refuse_unknown(function: str, given: Iterable[str], known: type) -> None:
    for name in given:
        if name not in known.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
