"""Cursors as callers see them: each carries a checksum, so that a changed one, or one of another list, is refused."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

import simplejson
from fastapi import Query

from api.schemas.rendering import moment
from core.errors import InvalidField
from core.services.pages import PAGE_LARGEST

_SEAL_CHARACTERS = 16

Limit = Annotated[int, Query(ge=1, le=PAGE_LARGEST, description="The most items that the page may have")]
Cursor = Annotated[str | None, Query(description="From the `Link` header of the page before")]


@dataclass(frozen=True, slots=True)
class Listing:
    """One list as it was asked for: whose, which one, and its filters, but not which page of it.

    It is the same list under any prefix, so `name` is not a path.
    """

    tenant: str
    name: tuple[str, ...]
    filters: Mapping[str, object] = field(default_factory=dict)

    def link(self, path: str, limit: int, position: str | None) -> dict[str, str] | None:
        """The `Link` header of the next page, which begins after `position`; None if this page is the last.

        The link is relative, and `path` is that of this page: a proxy knows the host's outer address and we do not.
        """
        if position is None:
            return None
        query = urlencode({**self._asked(), "limit": limit, "cursor": self.cursor(position)})
        return {"Link": f'<{path}?{query}>; rel="next"'}

    def cursor(self, position: str) -> str:
        """The cursor with which a page begins after a position."""
        cursor = base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")
        return f"{cursor}.{self._seal(cursor)}"

    def position(self, sealed: str | None) -> str | None:
        """The position in a cursor that was made for this list; None for the first page. Raises InvalidField."""
        if sealed is None:
            return None
        cursor, _, seal = sealed.rpartition(".")
        if seal != self._seal(cursor):
            raise InvalidField("cursor", "is not one that a Link header gave for this list and these filters")
        try:
            position = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            position = "\x00"
        # Whoever forges the seal may write anything here. No id holds a NUL, and no text in the database can.
        if "\x00" in position:
            raise InvalidField("cursor", "is not one that a Link header gave")
        return position

    def _asked(self) -> dict[str, str]:
        return {name: _as_text(value) for name, value in self.filters.items() if value is not None}

    def _seal(self, cursor: str) -> str:
        """A checksum, not a secret: a caller who forges one only gets to another place in a list that it may read."""
        text = simplejson.dumps([self.tenant, self.name, self._asked(), cursor])
        return hashlib.sha256(text.encode()).hexdigest()[:_SEAL_CHARACTERS]


def _as_text(value: object) -> str:
    """A filter's value as it is written in a query."""
    if isinstance(value, bool):
        return str(value).lower()
    return moment(value) if isinstance(value, datetime) else str(value)
