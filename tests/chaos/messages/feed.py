"""A reader of one tenant's feed: reads on by cursor, whatever happens to the API, and keeps every message."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from threading import Event as Flag
from typing import Any

import httpx2

Message = Mapping[str, Any]

_PAGES = (1, 7, 100)
_KEPT_IN_PART = 0.2
_PAUSE_S, _PAUSE_AFTER_ERROR_S = 0.2, 0.5
_READ_TO_END_WITHIN_S = 60.0


@dataclass(slots=True)
class FeedReader:
    """Reads with pages of several sizes. `wrong` lists answers that were not expected."""

    tenant: str
    seed: int
    client: httpx2.Client
    is_over: Flag
    messages: list[Message] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    count: int = 0
    _after: str | None = None
    _chance: Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = Random(f"{self.seed}:reader:{self.tenant}")

    def step(self) -> None:
        """Read one page; wait if there is no more by now."""
        page = self._read(self._chance.choice(_PAGES))
        if page is None:
            self.is_over.wait(_PAUSE_AFTER_ERROR_S)
        elif not page["has_more"]:
            self.is_over.wait(_PAUSE_S)

    def read_to_end(self) -> None:
        """Read all that is there by now, once the system is repaired."""
        deadline = time.monotonic() + _READ_TO_END_WITHIN_S
        while time.monotonic() < deadline:
            page = self._read(max(_PAGES))
            if page is None:
                time.sleep(_PAUSE_S)
            elif not page["messages"] and not page["has_more"]:
                return
        self.wrong.append(f"{self.tenant}: the feed was not read to its end within {_READ_TO_END_WITHIN_S:.0f} s")

    def _read(self, limit: int) -> Mapping[str, Any] | None:
        """A page, or None if there was no answer, after which the same page is asked for again."""
        self.count += 1
        parameters = {"limit": str(limit)} | ({} if self._after is None else {"after": self._after})
        try:
            answer = self.client.get("/messages", params=parameters)
        except httpx2.HTTPError:
            return None
        if answer.status_code != 200:
            if answer.status_code < 500:
                self.wrong.append(f"{self.tenant}: the feed was answered {answer.status_code}: {answer.text[:200]}")
            return None
        page: Mapping[str, Any] = json.loads(answer.content, parse_float=Decimal)
        self._keep(page)
        return page

    def _keep(self, page: Mapping[str, Any]) -> None:
        """Keep the page; sometimes only its beginning, as a reader that ends in the middle of it would."""
        messages = page["messages"]
        if messages and self._chance.random() < _KEPT_IN_PART:
            messages = messages[: self._chance.randrange(1, len(messages) + 1)]
            self._after = messages[-1]["cursor"]
        else:
            self._after = page["next"]
        self.messages += messages
