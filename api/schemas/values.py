"""Values that several bodies have, as the OpenAPI text describes them: ids, amounts, moments, words of fixed lists."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema
from typing_extensions import TypeAliasType

from core.events import facts
from core.events.envelope import ID_LONGEST, SOURCE_LONGEST
from core.goals.money import MAX_MINOR
from core.providers import contracts

_NO_CONTROL_CHARACTERS = r"^[^\u0000-\u001f\u007f-\u009f]*$"
_PLAIN_NUMBER = r"[0-9]+(\.[0-9]+)?"
_DATE = r"\d{4}-\d\d-\d\d"


def id_schema(example: str, longest: int = ID_LONGEST) -> dict[str, Any]:
    """The schema of a text that identifies something."""
    about = {"minLength": 1, "maxLength": longest, "pattern": _NO_CONTROL_CHARACTERS}
    return {"type": "string", **about, "examples": [example]}


def text_schema(longest: int, *, shortest: int = 0) -> dict[str, Any]:
    """The schema of a text for people, of so many characters besides the white space around it."""
    return {"type": "string", **({"minLength": shortest} if shortest else {}), "maxLength": longest}


# As a number or as a decimal string, which becomes no float anywhere. The bounds are those of a currency that has no
# decimals; with two, they are a hundredth.
AMOUNT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "minimum": -MAX_MINOR, "maximum": MAX_MINOR},
        {"type": "string", "pattern": rf"^[+-]?{_PLAIN_NUMBER}$"},
    ],
    "examples": [1250.50, "1250.50"],
}
PERCENT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
        {"type": "string", "pattern": rf"^\+?{_PLAIN_NUMBER}$"},
    ],
    "examples": [60.0, "33.3333"],
}
MOMENT_OR_DAY_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": rf"^{_DATE}([Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?)?$",
    "examples": ["2026-01-31", "2026-01-31T12:00:00Z"],
}
DAY_SCHEMA: dict[str, Any] = {"type": "string", "format": "date", "pattern": f"^{_DATE}$", "examples": ["2026-01-31"]}
CURRENCY_SCHEMA: dict[str, Any] = {"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["USD"]}


def _words(values: Iterable[str], description: str) -> WithJsonSchema:
    """The schema of a text that is one of a fixed list."""
    return WithJsonSchema({"type": "string", "enum": [str(value) for value in values], "description": description})


Id = Annotated[str, WithJsonSchema(id_schema("savings_001"))]
UserId = Annotated[str, WithJsonSchema(id_schema("user_123"))]
Source = Annotated[str, WithJsonSchema(id_schema("https://bank.example/sync", SOURCE_LONGEST))]
Currency = Annotated[str, WithJsonSchema(CURRENCY_SCHEMA)]
# Each of these is a component of its own, under its name.
Metadata = TypeAliasType(
    "Metadata", Annotated[dict[str, Any], Field(description="A JSON object of the application's own")]
)
Delivery = TypeAliasType("Delivery", Annotated[Any, Field(description="What a provider posts, as it sends it")])
AccountKind = TypeAliasType(
    "AccountKind",
    Annotated[str, _words(facts.AccountKind, "Whether the money in an account is owned (asset) or owed (liability)")],
)
ConnectionState = TypeAliasType(
    "ConnectionState",
    Annotated[str, _words(("healthy", "broken"), "Whether an account's connection at its provider works")],
)
Sign = TypeAliasType(
    "Sign",
    Annotated[
        str,
        _words(
            contracts.Sign,
            "`reversed` if the bank writes the amounts of transactions and the balances with the opposite sign,"
            " `reversed_amounts` or `reversed_balances` if only one of them, else `as_given`",
        ),
    ],
)
HistoryCause = TypeAliasType(
    "HistoryCause",
    Annotated[
        str,
        _words(
            ("created", "events", "typed", "linked", "allocation", "unlinked", "status"),
            "Why an amount changed: the goal was created, `events` came, the amount was set by hand (`typed`), an"
            " account was linked, its share (`allocation`) was changed, it was unlinked, or the goal's status changed",
        ),
    ],
)
DeadLetterState = TypeAliasType(
    "DeadLetterState",
    Annotated[
        str, _words(("waiting", "replayed", "discarded"), "What was done about a dead letter; it waits if nothing was")
    ],
)
DeadLetterCode = TypeAliasType(
    "DeadLetterCode",
    Annotated[
        str,
        _words(
            (
                *("unparseable", "malformed", "unknown_type", "unknown_tenant", "too_large", "missing_field"),
                *("bad_value", "bad_amount", "bad_currency", "clock_ahead", "far_future", "self_contradicting"),
                *("untold", "poison", "lost"),
            ),
            "Why an event could not take effect; docs/events.md says what each means",
        ),
    ],
)
UnappliedState = TypeAliasType(
    "UnappliedState",
    Annotated[
        str,
        _words(
            ("waiting", "pending", "dead_letter", "discarded", "replayed", "other_currency"),
            "`waiting`: no worker has tried it yet; `pending`: being applied, or tried again; `dead_letter`: refused;"
            " `discarded`: refused and given up; `replayed`: put onto the stream again within the last minute;"
            " `other_currency`: kept, but it counts nothing, since its account is in another currency",
        ),
    ],
)
CurrencySaidBy = TypeAliasType(
    "CurrencySaidBy",
    Annotated[
        str,
        _words(
            ("registration", "statement", "report", "transaction"),
            "Who says in which currency an account is: what was registered for it, another statement about it, its"
            " first report or its first transaction",
        ),
    ],
)
FactType = TypeAliasType(
    "FactType",
    Annotated[str, _words(("report", "transaction"), "What a fact is: a report of a balance, or a transaction")],
)
DisabledReason = TypeAliasType(
    "DisabledReason",
    Annotated[
        str,
        _words(
            ("failing", "gone"),
            "Why nothing is sent to an endpoint any more: it failed for three days, or answered 410",
        ),
    ],
)
RelinkReason = TypeAliasType(
    "RelinkReason",
    Annotated[
        str,
        _words(
            ("broken", "silent"),
            "Why an account probably goes on under a new id: its connection is broken, or it is silent",
        ),
    ],
)
