"""One tenant's requests: each is sent with a key of its own, again and again until the answer is final."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event as Flag
from typing import Any

import httpx2

from core.errors import MilepostError

_PAUSE_S = 0.5
_BUSY = "being worked on"


class NoAnswer(MilepostError):
    """A request had no final answer in time."""


@dataclass(slots=True)
class Requests:
    """Sends requests as one tenant. After `is_over` is set, each has `patience_s` more."""

    client: httpx2.Client
    prefix: str
    is_over: Flag
    patience_s: float = 60.0
    retries: int = 0
    count: int = 0

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Any, datetime, datetime]:
        """Send a request; returns the answer's status and body, and the moments between which it was done.

        After a 5xx, a cut connection or "still being worked on" the same request is sent again. Raises NoAnswer.
        """
        self.count += 1
        headers = {"Idempotency-Key": f"{self.prefix}-{self.count}"}
        began_at, give_up_at = datetime.now(UTC), _later(self.is_over, self.patience_s)
        while True:
            answer = self._try(method, path, body, headers)
            if answer is not None:
                return answer.status_code, answer.json() if answer.content else None, began_at, datetime.now(UTC)
            if give_up_at():
                raise NoAnswer(f"{method} {path} had no answer within {self.patience_s:g} s of healing")
            self.retries += 1
            time.sleep(_PAUSE_S)

    def _try(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> httpx2.Response | None:
        try:
            answer = self.client.request(method, path, json=body, headers=dict(headers))
        except httpx2.HTTPError:
            return None
        is_busy = answer.status_code == 409 and _BUSY in answer.text
        return None if answer.status_code >= 500 or is_busy else answer


def _later(is_over: Flag, patience_s: float) -> Callable[[], bool]:
    """A function that says whether `patience_s` have passed since `is_over` was set, even during the wait."""
    ended_s: list[float] = []

    def has_passed() -> bool:
        if is_over.is_set() and not ended_s:
            ended_s.append(time.monotonic())
        return bool(ended_s) and time.monotonic() - ended_s[0] > patience_s

    return has_passed
