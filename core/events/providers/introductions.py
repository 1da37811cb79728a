"""What the integrator told of the accounts of a body, stated as facts of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from core.events.providers.seam import Context, KnownAccount
from core.events.providers.statements import Statement, stated


def introduced(names: Iterable[str], context: Context) -> Iterator[Statement]:
    """Whose the named accounts are and of what kind, as far as the integrator said so; it was so when they were pulled.

    Transactions do not say it: a body of them alone would leave their accounts nobody's.
    """
    if context.pulled_at is None:
        return
    own = {*names} | ({context.account_id} if context.account_id is not None else set())
    for name in sorted(own):
        account = context.accounts.get(name, KnownAccount(name))
        told = replace(account, user_id=account.user_id or context.user_id, kind=account.kind or context.kind)
        if told.user_id or told.kind:
            yield stated("account.changed", told.account_id, context.pulled_at, user_id=told.user_id, kind=told.kind)
