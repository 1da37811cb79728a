"""The one exception root, and the errors that every layer above may raise or meet."""


class MilepostError(Exception):
    """Root of all errors that Milepost raises on purpose; a person can read the text."""


CANNOT = "which this version of Milepost cannot bring forward (no earlier release had it)"
"""What is wrong with the tables of a version before the first release."""


class InvalidField(MilepostError, ValueError):
    """A value that cannot be parsed or is not allowed; `field` is the name that the caller used for it.

    If it is inside another field, `place` has the names and the numbers of items that lead to it, its own name last,
    and `field` has them with dots between (`milestones.0.amount`).
    """

    def __init__(self, field: str, message: str, *, inside: tuple[str | int, ...] = ()) -> None:
        self.place = (*inside, field)
        self.field = ".".join(map(str, self.place))
        self.message = message
        super().__init__(f"{self.field}: {message}")


class QuotaExceeded(MilepostError):
    """A tenant has as much of something as it may have."""

    def __init__(self, what: str, most: int, remedy: str) -> None:
        super().__init__(f"The tenant has {most:,} {what}, which is its quota: {remedy}")
        self.most = most


class SecretsUnreadable(MilepostError):
    """The secrets of webhooks cannot be read: their key is not set, or is another one."""


class AllocationExceeded(MilepostError, ValueError):
    """The shares of a goal's open links would sum to more than 100%. `others_ppm` is the sum of the other accounts."""

    def __init__(self, others_ppm: int) -> None:
        super().__init__("Total allocation would exceed 100%")
        self.others_ppm = others_ppm


class Conflict(MilepostError):
    """The request is well-formed, but the present state does not allow what it asks for."""


class StatusMoveRefused(Conflict):
    """A change of status that the lifecycle does not allow."""

    def __init__(self, status: str, wanted: str) -> None:
        super().__init__(f"A goal that is {status} cannot become {wanted}")
        self.status = status
        self.wanted = wanted


class AmountFollowsAccounts(Conflict):
    """`current_amount` was set by hand for a goal whose amount is the balance of its accounts."""

    def __init__(self) -> None:
        super().__init__("current_amount can't be set: this goal follows the balances of its accounts")


class TakesNoLinks(Conflict):
    """A request would link an account to, or unlink it from, a goal that follows all accounts of its user."""

    def __init__(self) -> None:
        super().__init__("The goal follows the net worth of its user: all accounts count, and none can be linked")


class TooManyMilestones(Conflict):
    """A milestone more than a goal may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"A goal has at most {most} milestones: delete one first")
        self.most = most


class GoalIsFinal(Conflict):
    """A request would change the amount, target, milestones or links of a completed or abandoned goal."""

    def __init__(self, status: str) -> None:
        super().__init__(f"The goal is {status}, which is final; reopen it first")


class NotFinal(Conflict):
    """A request would reopen a goal that is neither completed nor abandoned."""

    def __init__(self, status: str) -> None:
        super().__init__(f"The goal is {status}: only one that is completed or abandoned can be reopened")


class ExternalIdTaken(Conflict):
    """Another goal of the user has this external id."""

    def __init__(self) -> None:
        super().__init__("The user has a goal with this external_id already")


class GoalMoved(MilepostError):
    """The goal has changed since the caller read it; `version` is its present version."""

    def __init__(self, goal_id: str, version: int) -> None:
        super().__init__(f"The goal has changed since it was read: it is at version {version} now; read it again")
        self.goal_id = goal_id
        self.version = version


class KeyReused(MilepostError):
    """An idempotency key was used again, with another request."""

    def __init__(self) -> None:
        super().__init__("was used for another request in the last 24 hours; give each request a key of its own")


class KeyBusy(Conflict):
    """The first request with an idempotency key takes longer than a second one can wait."""

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still being worked on; try again")


class NotFound(MilepostError, LookupError):
    """What was asked for does not exist or belongs to another tenant; a caller cannot tell which."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"{what} not found")
        self.what = what
        self.name = name


class EventRejected(MilepostError):
    """An event that cannot be applied; `code` is stable, the text explains why to a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class MalformedEvent(EventRejected):
    """The envelope itself cannot be right: no CloudEvents 1.0 object, or a `time` ahead of now. The API answers 422."""


class ProviderBodyRefused(MilepostError):
    """A provider's body that has not the stated format, or that lacks something only the caller can supply.

    `code` is stable; `where` points into the body (`added[3].amount`; empty: the body as a whole).
    """

    def __init__(self, code: str, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.code = code
        self.message = message
        self.where = where


class SettingsError(MilepostError):
    """A setting has an invalid value; the text names the setting and says what is valid."""


class StreamUnavailable(MilepostError):
    """The stream server is not reachable, is full, or could not make a write durable."""
