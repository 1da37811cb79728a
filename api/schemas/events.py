"""Events as the OpenAPI text describes them. Nothing is parsed by these: core.ingestion.parse has the rules."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, GetJsonSchemaHandler, WithJsonSchema, with_config
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import TypeAliasType, TypedDict

from api.batches import MAX_EVENTS
from api.schemas.values import (
    AMOUNT_SCHEMA,
    DAY_SCHEMA,
    MOMENT_OR_DAY_SCHEMA,
    AccountKind,
    ConnectionState,
    Currency,
    Id,
    Sign,
    Source,
    UserId,
    id_schema,
)
from core.events.envelope import EVENT_LONGEST_BYTES, SOURCE_LONGEST
from core.events.facts import ACCOUNTS_MOST
from core.ingestion.parse import AHEAD_MOST, TEXT_LONGEST
from core.providers.registry import ORDER_LONGEST

Amount = Annotated[str, WithJsonSchema(AMOUNT_SCHEMA)]
Day = Annotated[str, WithJsonSchema(DAY_SCHEMA)]
Instant = Annotated[
    str, WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]})
]
EventId = Annotated[str, WithJsonSchema(id_schema("bank-7-000123", SOURCE_LONGEST))]
MomentOrDay = Annotated[str, WithJsonSchema(MOMENT_OR_DAY_SCHEMA)]
# A number is stored as text.
Note = Annotated[str, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]})]
_CUT = f"stored without control characters, and cut to {TEXT_LONGEST} characters"
_AHEAD = f"at most {AHEAD_MOST.days} days after the event's `time`"

AccountId = Annotated[Id, Field(description="your own id for the account")]
Owner = Annotated[UserId | None, Field(description="whose account it is: your own id for the user")]
Kind = Annotated[AccountKind | None, Field(description="asset or liability; null states nothing")]
CurrencyOfAmounts = Annotated[Currency, Field(description="of the amounts: an ISO 4217 code")]


@with_config(title="TransactionRecordedData")
class TransactionRecordedData(TypedDict):
    """A transaction of an account; its key is the account and the transaction."""

    account_id: AccountId
    transaction_id: Annotated[Id, Field(description="the transaction's id within its account")]
    amount: Annotated[
        Amount,
        Field(
            description="above 0 raises the account's worth, whatever its kind; in units of the currency, with no more"
            " decimals than it has"
        ),
    ]
    currency: CurrencyOfAmounts
    posted_at: Annotated[
        MomentOrDay, Field(description=f"a local day of the tenant, or an instant; not before 1900, {_AHEAD}")
    ]
    pending: Annotated[
        NotRequired[bool | None], Field(description="a pending transaction counts nothing; without it, it is posted")
    ]
    replaces: Annotated[
        NotRequired[Id | None], Field(description="the pending transaction in whose place it is; not itself")
    ]
    category: Annotated[NotRequired[Note | None], Field(description=f"a text for people, {_CUT}")]
    description: Annotated[NotRequired[Note | None], Field(description=f"a text for people, {_CUT}")]
    user_id: NotRequired[Owner]
    kind: NotRequired[Kind]


@with_config(title="TransactionRemovedData")
class TransactionRemovedData(TypedDict):
    """A transaction that no longer counts."""

    account_id: AccountId
    transaction_id: Annotated[Id, Field(description="the transaction's id within its account")]


@with_config(title="BalanceReportedData")
class BalanceReportedData(TypedDict):
    """A balance of an account; its key is the account, `as_of` and the currency."""

    account_id: AccountId
    current: Annotated[
        Amount | None,
        Field(
            description="of a liability positive when owed; in units of the currency, with no more decimals than it"
            " has; null states nothing at all"
        ),
    ]
    currency: CurrencyOfAmounts
    as_of: Annotated[
        MomentOrDay,
        Field(
            description="the moment of the balance: an instant, or a local day of the tenant, in which it is placed at"
            f" the event's `time`; not before 1900, {_AHEAD}"
        ),
    ]
    available: Annotated[
        NotRequired[Amount | None],
        Field(description="what is available, in units of the currency, with no more decimals than it has"),
    ]
    user_id: NotRequired[Owner]
    kind: NotRequired[Kind]


# In a class it could not be written: `from` is a keyword.
_Since = TypedDict(
    "_Since",
    {
        "from": Annotated[
            NotRequired[Day | None],
            Field(
                description="with `replaced_by`: the local day from which on the other account counts, not after the"
                " event's `time`; unless given, it counts from its first report on"
            ),
        ]
    },
)


@with_config(title="AccountChangedData", json_schema_extra={"minProperties": 2})
class AccountChangedData(_Since):
    """What is stated of an account: at least one of user_id, kind, name, closed, currency, replaced_by and opened."""

    account_id: AccountId
    user_id: NotRequired[Owner]
    kind: NotRequired[Kind]
    name: Annotated[NotRequired[Note | None], Field(description=f"a text for people, {_CUT}; null takes it back")]
    closed: Annotated[NotRequired[bool | None], Field(description="it takes no new links; null states nothing")]
    currency: Annotated[
        NotRequired[Currency | None], Field(description="that of the account: an ISO 4217 code; null takes it back")
    ]
    replaced_by: Annotated[
        NotRequired[Id | None], Field(description="the account that it goes on as, not itself; null takes it back")
    ]
    opened: Annotated[
        NotRequired[Day | None],
        Field(
            description="the local day before which it is worth nothing, not after the event's `time`; null takes it"
            " back"
        ),
    ]


@with_config(title="ConnectionChangedData")
class ConnectionChangedData(TypedDict):
    """The state of the connection of some accounts at their provider; it changes no amount."""

    account_ids: Annotated[
        list[Id], Field(min_length=1, max_length=ACCOUNTS_MOST, description="your own ids for the accounts")
    ]
    state: Annotated[ConnectionState, Field(description="whether the connection works")]
    reason: Annotated[NotRequired[Note | None], Field(description=f"a text for people, {_CUT}")]


_FirstDay = TypedDict(
    "_FirstDay", {"from": Annotated[Day, Field(description=f"the first of the local days; not before 1900, {_AHEAD}")]}
)


@with_config(title="WindowReportedData")
class WindowReportedData(_FirstDay):
    """That a pull, at the event's `time`, had all booked rows of some days: others of this source count as removed."""

    account_id: AccountId
    through: Annotated[Day, Field(description=f"the last of the local days, not before the first; {_AHEAD}")]


@with_config(title="ProviderRowAccount")
class RowAccount(TypedDict):
    """What was registered for a provider's account when its row came."""

    account_id: AccountId
    user_id: NotRequired[Owner]
    kind: NotRequired[Kind]
    currency: Annotated[NotRequired[Id | None], Field(description="where the provider leaves it out")]
    since: Annotated[NotRequired[Day | None], Field(description="records of earlier days came under its former id")]
    connection: Annotated[
        NotRequired[Id | None], Field(description="the item, enrollment or member that it belongs to")
    ]
    recorded_kind: Annotated[
        NotRequired[AccountKind | None], Field(description="the kind that was known from earlier events")
    ]
    sign: Annotated[NotRequired[Sign | None], Field(description="whether the bank turns signs")]


RowAccounts = TypeAliasType(
    "RowAccounts",
    Annotated[
        dict[str, RowAccount],
        Field(title="ProviderRowAccounts", description="The registered accounts, by the provider's ids"),
    ],
)


@with_config(title="ProviderRowContext")
class RowContext(TypedDict):
    """What was known of a provider's body when it came."""

    pulled_at: Annotated[NotRequired[Instant | None], Field(description="when the body was pulled, or came")]
    account_id: Annotated[NotRequired[Id | None], Field(description="the provider's account, where a row names none")]
    user_id: NotRequired[Owner]
    currency: Annotated[NotRequired[Id | None], Field(description="where neither a row nor an account has one")]
    kind: NotRequired[Kind]
    accounts: Annotated[NotRequired[RowAccounts], Field(description="the registered accounts, by the provider's ids")]


@with_config(title="ProviderRowData")
class ProviderRowData(TypedDict):
    """A provider's row that Milepost could not read, stored whole, to be read by a later version."""

    part: Annotated[str, Field(description="which kind of row of which provider it is")]
    order: Annotated[
        NotRequired[str], Field(max_length=ORDER_LONGEST, description="decides between statements of one time")
    ]
    row: Annotated[Any, Field(description="the row as it came, an object")]
    context: Annotated[RowContext, Field(description="what was known when it came")]


class _Envelope(TypedDict):
    specversion: Annotated[Literal["1.0"], Field(description="that of CloudEvents")]
    id: Annotated[
        EventId, Field(description="with the source, the event's name; of equal times the greater (source, id) wins")
    ]
    source: Annotated[Source, Field(description="who states it")]
    time: Annotated[
        Instant,
        Field(
            description="when it was stated: of several facts with one key the latest `time` wins; UTC if it has no"
            " offset; not before 1900, and at most five minutes ahead"
        ),
    ]
    subject: Annotated[NotRequired[str | None], Field(description="ignored")]


@with_config(title="TransactionRecorded")
class TransactionRecorded(_Envelope):
    """A transaction was booked, is pending, or is another than was said before."""

    type: Annotated[Literal["milepost.transaction.recorded"], Field(description="what is stated")]
    data: Annotated[TransactionRecordedData, Field(description="the transaction")]


@with_config(title="TransactionRemoved")
class TransactionRemoved(_Envelope):
    """A transaction is taken back."""

    type: Annotated[Literal["milepost.transaction.removed"], Field(description="what is stated")]
    data: Annotated[TransactionRemovedData, Field(description="which transaction")]


@with_config(title="BalanceReported")
class BalanceReported(_Envelope):
    """A balance of an account was reported."""

    type: Annotated[Literal["milepost.balance.reported"], Field(description="what is stated")]
    data: Annotated[BalanceReportedData, Field(description="the balance")]


@with_config(title="AccountChanged")
class AccountChanged(_Envelope):
    """Something is stated of an account itself."""

    type: Annotated[Literal["milepost.account.changed"], Field(description="what is stated")]
    data: Annotated[AccountChangedData, Field(description="what is stated of which account")]


@with_config(title="ConnectionChanged")
class ConnectionChanged(_Envelope):
    """The connection of accounts at their provider works, or is broken."""

    type: Annotated[Literal["milepost.connection.changed"], Field(description="what is stated")]
    data: Annotated[ConnectionChangedData, Field(description="the connection's state")]


@with_config(title="WindowReported")
class WindowReported(_Envelope):
    """A pull had all booked rows of some days."""

    type: Annotated[Literal["milepost.window.reported"], Field(description="what is stated")]
    data: Annotated[WindowReportedData, Field(description="the days of which account")]


@with_config(title="ProviderRow")
class ProviderRow(_Envelope):
    """A provider's row that could not be read. Milepost makes these itself."""

    type: Annotated[Literal["milepost.provider.row"], Field(description="what is stated")]
    data: Annotated[ProviderRowData, Field(description="the row")]


Event = TypeAliasType(
    "Event",
    Annotated[
        TransactionRecorded
        | TransactionRemoved
        | BalanceReported
        | AccountChanged
        | ConnectionChanged
        | WindowReported
        | ProviderRow,
        Field(
            discriminator="type",
            description=f"A CloudEvents 1.0 event in JSON, at most {EVENT_LONGEST_BYTES:,} bytes. Fields that are not"
            " known are ignored. What its `data` must hold is checked when the event is applied: what is wrong then"
            " becomes a dead letter, or with `strict=true` refuses the request.",
        ),
    ],
)


class _InTwoParts:
    """Describes an array as an array that has a certain length besides.

    It is the same, but openapi-python-client makes a class of it. For a list it would make code that fails at every
    call, since the route takes other media types too (`isinstance(body, list[...])`).
    """

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        array, length = ({key: schema[key] for key in keys} for keys in (("type", "items"), ("minItems", "maxItems")))
        return {"description": "Several events, of which all are taken or none", "allOf": [array, length]}


EventBatch = TypeAliasType(
    "EventBatch", Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS), _InTwoParts()]
)
