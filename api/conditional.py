"""ETags of goals, and the conditions on them: If-Match on what changes a goal, If-None-Match on reading it."""

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


def etag(goal_id: str, version: int) -> str:
    """The ETag of a goal's body at a version. It names the goal too, so that it fits no other."""
    return f'"{goal_id}.{version}"'


@dataclass(frozen=True, slots=True)
class IfMatchHeader:
    """What a request says of the goal that it would change; None: nothing."""

    value: str | None

    def versions(self, goal_id: str, stated: int | None = None) -> Versions | None:
        """The versions of the goal that the request is meant for; None for any.

        `stated` is the version that the body names, which must be among them too. A weak tag stands for none, since
        it does not promise that the body is the same. Raises HeaderRefused.
        """
        named = self._versions(goal_id)
        if stated is None:
            return named
        return frozenset({stated}) if named is None else named & {stated}

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
    """What a reader has already; None: nothing."""

    value: str | None

    def covers(self, tag: str) -> bool:
        """Whether the reader has this. What does not parse covers nothing: the reader then gets the whole."""
        if self.value is None:
            return False
        if self.value.strip() == "*":
            return True
        return tag in {each.removeprefix("W/") for each in _tags(self.value) or ()}


def _tags(value: str) -> list[str] | None:
    """The tags of a list, weak ones with their `W/`; None if it is none."""
    return _EACH.findall(value) if _LIST.fullmatch(value) else None


def _all(request: Request, name: str) -> str | None:
    """A header that came in several lines is one list."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None


async def _if_match(
    request: Request,
    _documented: Annotated[
        str | None,
        Header(alias="If-Match", description="ETags of the goal, or `*`: if it is at none of these, 412"),
    ] = None,
) -> IfMatchHeader:
    return IfMatchHeader(_all(request, "if-match"))


async def _if_none_match(
    request: Request,
    _documented: Annotated[
        str | None, Header(alias="If-None-Match", description="ETags of the goal: if it is at one of these, 304")
    ] = None,
) -> IfNoneMatchHeader:
    return IfNoneMatchHeader(_all(request, "if-none-match"))


IfMatch = Annotated[IfMatchHeader, Depends(_if_match)]
IfNoneMatch = Annotated[IfNoneMatchHeader, Depends(_if_none_match)]
