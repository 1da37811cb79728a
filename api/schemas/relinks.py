"""The body of two accounts that are probably one."""

from typing import Annotated

from pydantic import Field, with_config
from typing_extensions import TypedDict

from api.schemas.rendering import Amount, Moment
from api.schemas.values import AccountKind, Currency, RelinkReason


@with_config(title="ProbableRelink")
class RelinkBody(TypedDict):
    """Two accounts of one user, kind and currency that are probably one; balances are those of their last reports."""

    old_account_id: Annotated[str, Field(description="the account that probably goes on under another id")]
    new_account_id: Annotated[str, Field(description="the account that it probably goes on as")]
    user_id: Annotated[str, Field(description="whose accounts they are")]
    kind: Annotated[AccountKind, Field(description="of both")]
    currency: Annotated[Currency, Field(description="of both: an ISO 4217 code")]
    old_balance: Annotated[Amount, Field(description="of the old account, with exactly the currency's digits")]
    old_as_of: Annotated[Moment, Field(description="the moment of that balance")]
    new_balance: Annotated[Amount, Field(description="of the new account, with exactly the currency's digits")]
    new_as_of: Annotated[Moment, Field(description="the moment of that balance")]
    old_last_time: Annotated[Moment, Field(description="the `time` of the last event with a fact of the old account")]
    new_first_time: Annotated[Moment, Field(description="the `time` of the first event with one of the new account")]
    why: Annotated[RelinkReason, Field(description="the old one's connection is broken, or it is silent")]
