"""All interfaces to the same operations: methods of managers and clients, async or sync, functions, and plain HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from inspect import isawaitable
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx2

import milepost
from milepost import Goals, Interface, sync

# The fields that differ from one run to another: ids, and moments.
_DIFFERENT = {
    "id",
    "goal_id",
    "created_at",
    "updated_at",
    "reached_date",
    "calculated_at",
    "as_of",
    "from",
    "projected_at",
    "recorded_at",
}
_REFUSED = {400: "ValueError", 404: "KeyError", 409: "ValueError", 412: "ValueError", 422: "ValueError"}

AnyInterface = Interface | sync.Interface
_WITHOUT_BODY = {"/milestones/check", "/reopen"}

# An operation and its arguments; "goal" stands for the id of a goal.
Call = tuple[str, Mapping[str, Any]]
# The outcome of a call, in a form that is the same for all interfaces.
Outcome = Any


class Caller(Protocol):
    """Makes one call at a time, under the given idempotency key."""

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str) -> Any:
        """What the call returned; raises ValueError or KeyError."""
        ...


class ByMethods:
    """The methods of a manager or a client."""

    def __init__(self, goals: Goals) -> None:
        self.goals = goals

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str) -> Any:
        keyed = {} if operation.startswith(("get_", "list_")) else {"idempotency_key": key}
        return await getattr(self.goals, operation)(**arguments, **keyed)


class ByBlockingMethods:
    """The methods of a manager or a client of milepost.sync."""

    def __init__(self, goals: sync.Goals) -> None:
        self.goals = goals

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str) -> Any:
        keyed = {} if operation.startswith(("get_", "list_")) else {"idempotency_key": key}
        return getattr(self.goals, operation)(**arguments, **keyed)


class ByFunctions:
    """The documented functions."""

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str) -> Any:
        keyed = {} if operation.startswith(("get_", "list_")) else {"idempotency_key": key}
        return await getattr(milepost, operation)(**arguments, **keyed)


class ByHttp:
    """Requests as the documentation of the REST interface has them."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str) -> Any:
        method, path, body = _REQUESTS[operation](dict(arguments))
        headers = {} if method == "GET" else {"Idempotency-Key": key}
        content = None if body is None else json.dumps(body, default=float)
        response = await self.http.request(method, path, headers=headers, content=content)
        found = json.loads(response.text, parse_float=Decimal) if response.text else None
        if response.status_code in _REFUSED:
            raise {"ValueError": ValueError, "KeyError": KeyError}[_REFUSED[response.status_code]](found["detail"])
        assert response.is_success, response.text
        return found


def _goal(method: str, below: str = "") -> Callable[[dict[str, Any]], tuple[str, str, Any]]:
    """The request of an operation on one goal: all other arguments are its body, or its query."""

    def request(arguments: dict[str, Any]) -> tuple[str, str, Any]:
        if "from_" in arguments:
            arguments["from"] = arguments.pop("from_")
        path = f"/goals/{arguments.pop('goal_id')}{below}"
        for name in ("account_id", "milestone_id"):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", arguments.pop(name))
        if method in ("POST", "PATCH"):
            return method, path, None if below in _WITHOUT_BODY else arguments
        return method, f"{path}?{urlencode(arguments)}" if arguments else path, None

    return request


_REQUESTS: Mapping[str, Callable[[dict[str, Any]], tuple[str, str, Any]]] = {
    "create_goal": lambda arguments: ("POST", "/goals", arguments),
    "list_goals": lambda filters: ("GET", f"/goals?{urlencode(filters)}", None),
    "get_goal": _goal("GET"),
    "update_goal": _goal("PATCH"),
    "delete_goal": _goal("DELETE"),
    "reopen_goal": _goal("POST", "/reopen"),
    "get_goal_progress": _goal("GET", "/progress"),
    "get_goal_history": _goal("GET", "/history"),
    "get_goal_snapshots": _goal("GET", "/snapshots"),
    "add_milestone": _goal("POST", "/milestones"),
    "update_milestone": _goal("PATCH", "/milestones/{milestone_id}"),
    "delete_milestone": _goal("DELETE", "/milestones/{milestone_id}"),
    "list_milestones": _goal("GET", "/milestones"),
    "check_milestones": _goal("POST", "/milestones/check"),
    "get_milestone_progress": _goal("GET", "/milestones/progress"),
    "get_next_milestone": _goal("GET", "/milestones/next"),
    "link_account_to_goal": _goal("POST", "/funding"),
    "get_goal_funding": _goal("GET", "/funding"),
    "update_account_allocation": _goal("PATCH", "/funding/{account_id}"),
    "remove_account_from_goal": _goal("DELETE", "/funding/{account_id}"),
}


async def ask(interface: AnyInterface, method: str, *arguments: Any, **named: Any) -> Any:
    """What a method gives, whether it is to be awaited or not."""
    found = getattr(interface, method)(*arguments, **named)
    return await found if isawaitable(found) else found


def comparable(value: Any) -> Outcome:
    """The outcome without the fields that differ between runs, in one form for records, bodies and errors."""
    if isinstance(value, Exception):
        kind = "KeyError" if isinstance(value, KeyError) else "ValueError"
        return kind, str(value.args[0]) if type(value) is KeyError else str(value)
    if isinstance(value, Mapping):
        return {name: comparable(each) for name, each in value.items() if name not in _DIFFERENT}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Decimal | int):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value
