"""What webhooks of all providers have in common: an object, a pointer to what is to be pulled, a broken connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from core.errors import EventRejected, ProviderBodyRefused
from core.events.envelope import ID_LONGEST, identifier
from core.events.providers.fields import note
from core.events.providers.rows import Reading
from core.events.providers.seam import Adapted, Context, Refresh
from core.events.providers.statements import connection, event_of

CODE_LONGEST = 100


def webhook_object(body: object) -> Mapping[str, Any]:
    """The body as the object that every webhook is."""
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "a webhook is an object")
    return body


def code_of(body: Mapping[str, Any], field: str) -> str:
    """A provider's word for what happened, that must be there."""
    try:
        return identifier(body.get(field), field, CODE_LONGEST)
    except EventRejected as error:
        raise ProviderBodyRefused("not_this_form", error.message, field) from None


def refresh(candidates: Iterable[object], kind: str, reason: str) -> Adapted:
    """A pointer: what is to be pulled for the first of the candidates that can name a thing."""
    for subject in candidates:
        try:
            return Adapted(refreshes=(Refresh(identifier(subject, "subject", ID_LONGEST), _word(kind), _word(reason)),))
        except EventRejected:
            continue
    raise ProviderBodyRefused("not_this_form", "the webhook names nothing that it is about")


def connection_state(
    subject: object, named: Iterable[object], state: str, reason: str, known_at: datetime | None, context: Context
) -> Adapted:
    """The state of the accounts that hang on `subject` or are `named`; a pointer where none of them is known."""
    told = {name for name in named if isinstance(name, str)}
    hanging = [
        known.account_id
        for name, known in context.accounts.items()
        if name in told or (known.connection is not None and known.connection == subject)
    ]
    if not hanging:
        return refresh([subject, *sorted(told)], "connection", reason)
    statements = connection(hanging, Reading(context).time(known_at), state, note(reason))
    return Adapted(events=tuple(event_of(statement, context.source, "") for statement in statements))


def _word(said: str) -> str:
    """A provider's word as a database takes it."""
    return "".join(letter for letter in said if letter.isprintable())[:CODE_LONGEST] or "unsaid"
