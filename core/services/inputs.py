"""What callers pass in: drafts and changes, ids and moments."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Final, Literal

from core.errors import InvalidField, MalformedEvent
from core.events.envelope import identifier
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.store.tenants import Tenant

Stated = Decimal | int | str
# A moment, or the whole of a local day.
DayOrMoment = datetime | date


class Unset(Enum):
    """The type of UNSET, which means "not given", unlike None, which means "given as null"."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
MaybeUnset = Literal[Unset.UNSET]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: the tenant and the scopes of the API key."""

    tenant: Tenant
    key_id: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class GoalDraft:
    """A goal to be created; amounts are in units of the currency, as the caller gave them."""

    user_id: str
    name: str
    type: GoalType
    target_amount: Stated
    current_amount: Stated | None = None
    currency: str = "USD"
    deadline: DayOrMoment | None = None
    description: str | None = None
    status: GoalStatus = GoalStatus.ACTIVE
    tracking: Tracking | None = None
    start_date: date | None = None
    auto_complete: bool = False
    external_id: str | None = None
    metadata: Mapping[str, object] | None = None
    position: int | None = None
    image_url: str | None = None
    milestones: Sequence[MilestoneDraft] = ()


@dataclass(frozen=True, slots=True)
class GoalChanges:
    """The fields of a goal to be changed; UNSET leaves a field as it is, None clears it."""

    name: str | MaybeUnset = UNSET
    description: str | MaybeUnset | None = UNSET
    target_amount: Stated | MaybeUnset = UNSET
    current_amount: Stated | MaybeUnset = UNSET
    deadline: DayOrMoment | MaybeUnset | None = UNSET
    status: GoalStatus | MaybeUnset = UNSET
    external_id: str | MaybeUnset | None = UNSET
    metadata: Mapping[str, object] | MaybeUnset | None = UNSET
    position: int | MaybeUnset | None = UNSET
    image_url: str | MaybeUnset | None = UNSET


@dataclass(frozen=True, slots=True)
class MilestoneDraft:
    """A milestone to be added."""

    amount: Stated
    description: str | None = None
    target_date: DayOrMoment | None = None


@dataclass(frozen=True, slots=True)
class MilestoneChanges:
    """The fields of a milestone to be changed; UNSET leaves a field as it is, None clears it."""

    amount: Stated | MaybeUnset = UNSET
    description: str | MaybeUnset | None = UNSET
    target_date: DayOrMoment | MaybeUnset | None = UNSET


@dataclass(frozen=True, slots=True)
class LinkDraft:
    """An account to be linked; `from_` defaults to now, and a date counts from the first instant of that local day."""

    account_id: str
    account_name: str | None
    allocation_percent: Stated
    from_: DayOrMoment | None = None
    whole: bool = False


def new_id(kind: str, now: datetime) -> str:
    """An id that nobody can guess; ids of one kind sort by the moment of creation."""
    return f"{kind}_{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def check_id(field: str, value: str) -> str:
    """Return the id unchanged; raises InvalidField."""
    try:
        return identifier(value, field)
    except MalformedEvent as error:
        raise InvalidField(field, error.message.removeprefix(f"{field} ")) from None


def is_id(value: str) -> bool:
    """Whether `check_id` accepts it. An id that it refuses cannot exist, and Postgres may not accept it as text."""
    try:
        identifier(value, "id")
    except MalformedEvent:
        return False
    return True


def check_past(field: str, at: datetime | None, now: datetime) -> None:
    """Raise InvalidField for a moment in the future: what will be known then is not known yet."""
    if at is not None and at > now:
        raise InvalidField(field, "must not be after now")
