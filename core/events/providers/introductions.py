"""What the integrator told of the accounts of a body, stated as facts of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.events.providers.seam import AdaptedEvent, Context, KnownAccount
from core.events.providers.statements import event_of, stated


def introduce(names: Iterable[str], context: Context, kind: str | None = None) -> Iterator[AdaptedEvent]:
    """Whose the accounts of transactions are and of what kind, as far as the integrator said so; so it was at the pull.

    Transactions do not say it: a body of them alone would leave its accounts nobody's. `kind` is the word on the whole
    body, for providers whose bodies tell no kind themselves.
    """
    if context.pulled_at is None:
        return
    for name in sorted({*names, *([] if context.account_id is None else [context.account_id])}):
        account = context.accounts.get(name, KnownAccount(name))
        told = {"user_id": account.user_id or context.user_id, "kind": account.kind or kind}
        if any(told.values()):
            statement = stated("account.changed", account.account_id, context.pulled_at, **told)
            yield event_of(statement, context.source, "")
