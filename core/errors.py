"""The one exception root and the refusals that every layer above it may meet."""

from __future__ import annotations


class MilepostError(Exception):
    """Root of all errors that Milepost raises on purpose; its text is fit for a person."""


class InvalidField(MilepostError, ValueError):
    """A value that does not parse or cannot be; `field` is the name the caller used for it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class AllocationExceeded(MilepostError, ValueError):
    """The shares of a goal's open links would sum to more than 100%."""

    def __init__(self) -> None:
        super().__init__("Total allocation would exceed 100%")


class Conflict(MilepostError):
    """The request is well-formed, but what it asks for does not go with the present state."""


class StatusMoveRefused(Conflict):
    """A move that the lifecycle does not have."""

    def __init__(self, status: str, wanted: str) -> None:
        super().__init__(f"A goal that is {status} cannot become {wanted}")
        self.status = status
        self.wanted = wanted


class AmountFollowsAccounts(Conflict):
    """`current_amount` was typed for a goal whose amount is the balance of its accounts."""

    def __init__(self) -> None:
        super().__init__("current_amount can't be set: this goal follows the balances of its accounts")


class TakesNoLinks(Conflict):
    """An account was to be linked to, or taken from, a goal that follows all accounts of its user."""

    def __init__(self) -> None:
        super().__init__("The goal follows the net worth of its user: all accounts count, and none can be linked")


class GoalIsFinal(Conflict):
    """A completed or abandoned goal was asked to change its amount, target, milestones or links."""

    def __init__(self, status: str) -> None:
        super().__init__(f"The goal is {status}, which is final")


class GoalMoved(MilepostError):
    """The goal is not at a version that the caller has seen and would act upon; `version` is its present one."""

    def __init__(self, goal_id: str, version: int) -> None:
        super().__init__(f"The goal has changed since it was read: it is at version {version} now; read it again")
        self.goal_id = goal_id
        self.version = version


class KeyReused(MilepostError):
    """An idempotency key came again with another request."""

    def __init__(self) -> None:
        super().__init__("was used for another request in the last 24 hours; give each request a key of its own")


class KeyBusy(Conflict):
    """The first request with an idempotency key takes longer than a second one can wait."""

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still being worked on; try again")


class NotFound(MilepostError, LookupError):
    """The thing does not exist, or belongs to another tenant: the two look the same."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"{what} not found")
        self.what = what
        self.name = name


class EventRejected(MilepostError):
    """An event that cannot take effect; `code` is stable, the text tells a person why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class MalformedEvent(EventRejected):
    """The envelope itself is not a CloudEvents 1.0 object; the HTTP door refuses these with 422."""


class ProviderBodyRefused(MilepostError):
    """A provider's body that is not of the form it is said to be, or lacks what only the caller can tell.

    `code` is stable, `where` points into the body (`added[3].amount`; empty: the whole of it).
    """

    def __init__(self, code: str, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.code = code
        self.message = message
        self.where = where


class SettingsError(MilepostError):
    """A setting makes no sense; the text names it and says what it takes."""


class StreamUnavailable(MilepostError):
    """The stream server is away, full, or could not make a write durable."""
