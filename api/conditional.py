"""ETags of goals, and the conditions on them: If-Match on changing a goal, If-None-Match on reading it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from api.bodies import HeaderRefused
from core.services.goal_access import Versions

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"[\s,]*{_TAG}(?:\s*,[\s,]*{_TAG})*[\s,]*")
_EACH = re.compile(_TAG)


IF_NONE_MATCH = {
    "parameters": [
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "description": "ETags of the goal: if it is at one of these, 304",
            "schema": {"type": "string"},
        }
    ]
}
"""The header, for the OpenAPI text of a route that reads it itself, since FastAPI takes long to do that."""


def etag(goal_id: str, version: int) -> str:
    """The ETag of a goal's body at a version. It names the goal too, so that it fits no other."""
    return f'"{goal_id}.{version}"'


@dataclass(frozen=True, slots=True)
class IfMatchHeader:
    """The If-Match header of a request that would change a goal; None if it has none."""

    value: str | None

    def versions(self, goal_id: str, body_version: int | None = None) -> Versions | None:
        """The versions of the goal that the request is meant for; None for any.

        `body_version` is the version that the body names; given both, it must be in the header too. A weak tag matches
        no version, since it does not promise that the body is the same. Raises HeaderRefused.
        """
        named = self._versions(goal_id)
        if body_version is None:
            return named
        return frozenset({body_version}) if named is None else named & {body_version}

    def _versions(self, goal_id: str) -> Versions | None:
        if self.value is None or self.value.strip() == "*":
            return None
        tags = _tags(self.value)
        if tags is None:
            raise HeaderRefused.at("If-Match", "must be * or ETags as they were given, in quotes, with commas between")
        numbers = (re.fullmatch(rf'"{re.escape(goal_id)}\.([0-9]{{1,18}})"', tag) for tag in tags)
        return frozenset(int(number[1]) for number in numbers if number)


@dataclass(frozen=True, slots=True)
class IfNoneMatchHeader:
    """The If-None-Match header of a reader: what it has already; None if it has none."""

    value: str | None

    @classmethod
    def of(cls, request: Request) -> IfNoneMatchHeader:
        """That of a request."""
        return cls(_joined(request, "if-none-match"))

    def covers(self, tag: str) -> bool:
        """Whether the reader has this tag. A header that does not parse covers none, so that the goal is sent."""
        if self.value is None:
            return False
        if self.value.strip() == "*":
            return True
        return tag in {each.removeprefix("W/") for each in _tags(self.value) or ()}


def _tags(value: str) -> list[str] | None:
    """The tags of a list, weak ones with their `W/`; None if the text is no list of tags."""
    return _EACH.findall(value) if _LIST.fullmatch(value) else None


def _joined(request: Request, name: str) -> str | None:
    """The value of a header; the lines of one that came in several are one list. None if there is none."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None


async def _if_match(
    request: Request,
    _documented: Annotated[
        str | None, Header(alias="If-Match", description="ETags of the goal, or `*`: if it is at none of these, 412")
    ] = None,
) -> IfMatchHeader:
    return IfMatchHeader(_joined(request, "if-match"))


IfMatch = Annotated[IfMatchHeader, Depends(_if_match)]
