"""The door to one tenant in this process: calls answered from its database, each done once.

A call that changes something bears a key, its caller's or one of its own, that is kept with its answer in its
transaction. What a failure at each step leaves behind:
1. before the commit: nothing; after a deadlock the call is made again, else its caller is told.
2. in the commit: nobody knows. The same call is made again under its key, which then gives the answer or does the
   work; where the database stays away, its caller gets the key with the error.
3. after the commit: the work and its answer.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.doors import DatabaseAway, Visit, database_trouble_told
from api.errors import refusal_of
from api.idempotency import route_of
from core.errors import MilepostError
from core.requests.answer_once import KeyedRequest, find_answer, keep_answer, keep_first_answer
from core.store.engine import is_database_trouble, is_undone
from milepost.errors import MilepostError as FaceError
from milepost.errors import Unavailable, refusal, told_of_key
from milepost.local.acts import ACTS
from milepost.local.place import Opening, Place
from milepost.wire import Answer, Call, decode, encode

_TRIES = 3
# Servers that were killed are back within a few seconds.
_DOUBT_PATIENCE_S = 15.0
_DOUBT_PAUSE_S = 0.2
_GOALS = "/goals"
_log = logging.getLogger("milepost")


class CommitInDoubt(DatabaseAway):
    """The connection ended within the commit: whether it was done is not known."""


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A call under its key; one of its own, that was not sent yet, cannot have an answer."""

    call: Call
    request: KeyedRequest | None
    is_new: bool

    @classmethod
    def of(cls, call: Call) -> _Keyed:
        if call.method == "GET":
            return cls(call, None, is_new=False)
        key = call.idempotency_key or str(uuid4())
        route = route_of(call.method, "/".join((_GOALS, *call.path)))
        request = KeyedRequest(key, route, hashlib.sha256(call.raw_body).digest())
        return cls(call, request, is_new=call.idempotency_key is None)

    @property
    def key(self) -> str | None:
        return None if self.request is None else self.request.key


class LocalDoor:
    """Answers calls from Postgres; opens at the first one, and anew in a fork or when its servers have gone."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.max_body_bytes = place.settings.max_body_bytes
        self._opening = Opening(place)

    def call(self, call: Call) -> Answer:
        """The answer, in one transaction. Raises the errors of milepost.errors, made as a client makes them."""
        keyed = _Keyed.of(call)
        try:
            return Answer(self._tried(keyed))
        except MilepostError as error:
            raise _refused(error, keyed) from None

    @contextmanager
    def visit(self, *, reading: bool) -> Iterator[Visit]:
        """One transaction of the tenant, committed when the block ends well; `reading` cannot write.

        Raises DatabaseAway for trouble with the database, CommitInDoubt for such that came with the commit, NotOpened
        where there is no database to work with, and NoSuchTenant.
        """
        try:
            with database_trouble_told():
                opened, session = self._opening.begin(reading)
                with session:  # rolls back what was not committed
                    yield Visit(session, opened.tenant, datetime.now(UTC), opened.read_cache)
                    _commit(session)
        except DatabaseAway as trouble:
            # The callers of an application's routes are told that it is away, and only the log why.
            _log.warning("%s", _with_reason(trouble))
            raise

    def close(self) -> None:
        """Give back the connections and the hold on the servers; the next call opens them again."""
        self._opening.close()

    def renew_lock(self) -> None:
        """For a fork: the thread that held the lock is not there any more."""
        self._opening.renew_lock()

    def _tried(self, keyed: _Keyed) -> Any:
        undone, doubt_since = 0, None
        while True:
            try:
                return self._answer(keyed)
            except DatabaseAway as trouble:
                if isinstance(trouble, CommitInDoubt) and keyed.request is not None and doubt_since is None:
                    keyed, doubt_since = replace(keyed, is_new=False), time.monotonic()
                undone += is_undone(trouble.__cause__ or trouble)
                is_doubtful = doubt_since is not None and time.monotonic() - doubt_since < _DOUBT_PATIENCE_S
                if not is_doubtful and not (is_undone(trouble.__cause__ or trouble) and undone < _TRIES):
                    if doubt_since is not None:
                        raise CommitInDoubt from trouble.__cause__ or trouble
                    raise
                if is_doubtful:
                    time.sleep(_DOUBT_PAUSE_S)

    def _answer(self, keyed: _Keyed) -> Any:
        call, request = keyed.call, keyed.request
        with self.visit(reading=request is None) as visit:
            act, status = ACTS[call.act]
            if request is None:
                return act(visit, call)
            if not keyed.is_new:
                found = find_answer(visit.session, visit.tenant, request, visit.now)
                if found is not None:
                    return decode(found.body) if found.body else None
            body = act(visit, call)
            raw = b"" if body is None else encode(body)
            location = f"{_GOALS}/{body['id']}" if call.act == "create_goal" else None
            if keyed.is_new:
                keep_first_answer(
                    visit.session, visit.tenant, request, visit.now, status=status, location=location, body=raw
                )
            else:
                keep_answer(visit.session, visit.tenant, request, status=status, location=location, body=raw)
            return body


def _commit(session: Session) -> None:
    try:
        session.commit()
    except DBAPIError as error:
        if is_database_trouble(error) and not is_undone(error):
            raise CommitInDoubt from error
        raise


def _refused(error: MilepostError, keyed: _Keyed) -> Exception:
    if isinstance(error, DatabaseAway):
        return _unavailable(error, keyed)
    refused = refusal_of(error, method=keyed.call.method)
    if refused is None:
        return error
    found: FaceError = refusal(refused.status, refused.problem, refused.headers.get("Retry-After"))
    return told_of_key(found, keyed.key)


def _unavailable(trouble: DatabaseAway, keyed: _Keyed) -> FaceError:
    """What an application is told in its own process: why, and after a commit in doubt that nobody knows."""
    found = Unavailable(_with_reason(trouble))
    if isinstance(trouble, CommitInDoubt):
        return told_of_key(found, keyed.key)
    found.idempotency_key = keyed.key
    return found


def _with_reason(trouble: DatabaseAway) -> str:
    """The trouble and the first line of what the database said; there is no password in it."""
    text = str(trouble)
    reason = str(trouble.__cause__ or "").partition("\n")[0].removeprefix("(psycopg.OperationalError) ")
    return text if not reason or reason == text else f"{text}: {reason}"
