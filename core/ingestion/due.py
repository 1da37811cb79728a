"""Facts that are dated too far ahead: kept when they arrive, and counted when their time has come.

Whether a fact is due depends on its date and its arrival alone (parse.py). One that is not due is stored and does not
count. Once it is due, it is applied like a fact that arrives: the account's lock is taken, the fact is compared with
what is stored by then, and worth, goals, milestones and dirty days follow from the comparison. So it counts once,
whoever looks at the same time; a removal or correction that came meanwhile has won before; and a crash leaves nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from core.events.facts import AccountFacts
from core.ingestion.accounts import fold_accounts
from core.ingestion.update_goals import update_goals
from core.store import due as store
from core.store.accounts import AccountKey, Held, hold_accounts, read_accounts
from core.store.driver import Session, plan_by_key
from core.store.due import DueFacts
from core.store.placing import write_places
from core.store.tenants import read_tenants
from core.store.transactions import read_transactions, write_transactions

Facts = dict[AccountKey, list[AccountFacts]]


def apply_due(session: Session, due: Sequence[DueFacts], now: datetime) -> int:
    """Let facts count that were found to be due; returns how many of them still waited when the locks were taken.

    From then on an account whose first report is overdue is worth what its rows say.
    """
    plan_by_key(session)
    held = hold_accounts(session, [each.account_key for each in due])
    facts = _waiting_facts(session, due, now)
    _write_facts(session, held, facts, now)
    return sum(not each.is_report_overdue for of_account in facts.values() for each in of_account)


def apply_facts(session: Session, facts: Facts, now: datetime) -> None:
    """Apply facts that a request states, by account, as if they had come as events.

    Locks the accounts and their goals.
    """
    plan_by_key(session)
    named = {(key[0], name) for key, of_account in facts.items() for each in of_account for name in each.account_ids}
    _write_facts(session, hold_accounts(session, named), facts, now)


def _write_facts(session: Session, held: Mapping[AccountKey, Held], facts: Facts, now: datetime) -> None:
    zones = {name: tenant.zone for name, tenant in read_tenants(session, {key[0] for key in facts}).items()}
    folded = fold_accounts(session, held, {}, read_accounts(session, facts), facts, zones)
    write_transactions(session, folded.changes)
    write_places(session, folded.places)
    update_goals(session, folded, zones, now)


def _waiting_facts(session: Session, due: Sequence[DueFacts], now: datetime) -> Facts:
    """The facts as they are now that their accounts are locked; the reports among them no longer wait."""
    facts: Facts = {}
    stored = read_transactions(session, [(*each.account_key, name) for each in due for name in each.transaction_ids])
    for each in due:
        for name in each.transaction_ids:
            transaction = stored[each.account_key][name].transaction
            if transaction.due_at is not None and transaction.due_at <= now:
                stated = AccountFacts(each.account_key[1], transaction=transaction._replace(due_at=None))
                facts.setdefault(each.account_key, []).append(stated)
    report_keys = [key for each in due for key in each.report_keys]
    for key, report in store.read_waiting_reports(session, report_keys).items():
        stated = AccountFacts(key[1], report=report._replace(due_at=None))
        facts.setdefault(key[:2], []).append(stated)
    for each in due:
        if each.is_report_overdue:
            stated = AccountFacts(each.account_key[1], is_report_overdue=True)
            facts.setdefault(each.account_key, []).append(stated)
    store.forget_waiting_reports(session, report_keys)
    return facts
