"""Cursors as callers see them: sealed, so that one that was changed, or belongs to another list, is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from urllib.parse import urlencode

from core.errors import InvalidField
from core.goals.goal import GoalType
from core.goals.lifecycle import GoalStatus

_SEAL_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Question:
    """What a list of goals was asked for, but for the page."""

    tenant: str
    user_id: str | None
    type: GoalType | None
    status: GoalStatus | None

    def link(self, limit: int, cursor: str | None) -> dict[str, str] | None:
        """The `Link` header of the next page; relative, since a proxy knows the outer address and we don't."""
        if cursor is None:
            return None
        filters = {"user_id": self.user_id, "type": self.type, "status": self.status}
        asked = {name: str(value) for name, value in filters.items() if value is not None}
        query = urlencode({**asked, "limit": limit, "cursor": f"{cursor}.{self._seal(cursor)}"})
        return {"Link": f'</goals?{query}>; rel="next"'}

    def unseal(self, sealed: str) -> str:
        """The cursor of a link that was given for this question; raises InvalidField."""
        cursor, _, seal = sealed.rpartition(".")
        if seal != self._seal(cursor):
            raise InvalidField("cursor", "is not one that a Link header gave for these filters")
        return cursor

    def _seal(self, cursor: str) -> str:
        """Not a secret: a caller who makes one only finds another place in a list that is open to it."""
        text = json.dumps([*astuple(self), cursor])
        return hashlib.sha256(text.encode()).hexdigest()[:_SEAL_CHARACTERS]
