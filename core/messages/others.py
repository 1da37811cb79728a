"""The messages that are about no goal: what each says, and of what its id is made."""

import hashlib
from collections.abc import Mapping
from datetime import datetime

from core.goals.money import to_decimal
from core.messages.types import MessageType, body, id_part, utc
from core.store.dead_letters import WaitingLetters
from core.store.outbox import Message
from core.store.providers import RefreshRow
from core.store.relinks import Candidate


def refresh_requested(row: RefreshRow, now: datetime) -> Message:
    """A provider's webhook says that there is something to pull."""
    data = {
        "request_id": row.request_id,
        "provider": row.provider,
        "subject": row.subject,
        "kind": row.kind,
        "reason": row.reason,
        "requested_at": utc(row.requested_at),
        "count": row.count,
    }
    return _message(row.tenant, MessageType.REFRESH_REQUESTED, row.request_id, data, row.requested_at, now)


def dead_letter_waiting(tenant: str, letters: WaitingLetters, now: datetime) -> Message:
    """Dead letters of a tenant wait for someone to decide; there is at least one."""
    data = {
        "waiting": sum(letters.codes.values()),
        "codes": letters.codes,
        "oldest_at": None if letters.oldest_at is None else utc(letters.oldest_at),
    }
    return _message(tenant, MessageType.DEAD_LETTER_WAITING, "", data, now, now)


DEAD_LETTERS = id_part(MessageType.DEAD_LETTER_WAITING)
"""The subject of `dead_letter_waiting`, of which each tenant has one."""


def relink_suspected(tenant: str, pair: Candidate, since: datetime, now: datetime) -> Message:
    """An account probably goes on under another id, since a moment."""
    data = {
        "old_account_id": pair.old_id,
        "new_account_id": pair.new_id,
        "user_id": pair.user_id,
        "kind": pair.kind,
        "currency": pair.currency,
        "old_balance": to_decimal(pair.old_minor, pair.currency),
        "old_as_of": utc(pair.old_as_of),
        "new_balance": to_decimal(pair.new_minor, pair.currency),
        "new_as_of": utc(pair.new_as_of),
        "old_last_time": utc(pair.last_event_at),
        "new_first_time": utc(pair.first_event_at),
        "why": "broken" if pair.is_broken else "silent",
    }
    name = _pair_name(pair.old_id, pair.new_id)
    message = _message(tenant, MessageType.ACCOUNT_RELINK_SUSPECTED, name, data, since, now)
    return message._replace(user_id=pair.user_id)


def endpoint_ping(tenant: str, endpoint_id: str, description: str | None, now: datetime) -> Message:
    """Somebody asked for a test of an endpoint that messages are sent to."""
    data = {"endpoint_id": endpoint_id, "description": description}
    return _message(tenant, MessageType.ENDPOINT_PING, endpoint_id, data, now, now)


def endpoint_disabled(
    tenant: str, endpoint_id: str, url: str, reason: str, failing_since: datetime | None, now: datetime
) -> Message:
    """Nothing is sent to an endpoint any more: it failed for days, or said that it is gone."""
    data = {
        "endpoint_id": endpoint_id,
        "url": url,
        "reason": reason,
        "failing_since": None if failing_since is None else utc(failing_since),
    }
    return _message(tenant, MessageType.ENDPOINT_DISABLED, endpoint_id, data, now, now)


def relink_subject(old_account_id: str, new_account_id: str) -> str:
    """The subject of `relink_suspected` for a pair."""
    return f"{id_part(MessageType.ACCOUNT_RELINK_SUSPECTED)}:{_pair_name(old_account_id, new_account_id)}"


def _pair_name(old_account_id: str, new_account_id: str) -> str:
    # The ids of accounts are others' text, and may have full stops.
    return hashlib.sha256(f"{old_account_id}\x00{new_account_id}".encode()).hexdigest()[:32]


def _message(
    tenant: str, message_type: MessageType, name: str, data: Mapping[str, object], happened_at: datetime, now: datetime
) -> Message:
    """`name` is what the message is about, as its id has it; it is empty if that is the tenant itself."""
    subject = f"{id_part(message_type)}:{name}" if name else id_part(message_type)
    payload = body(message_type, happened_at, data)
    return Message(tenant, None, subject, message_type, None, payload, happened_at, now)
