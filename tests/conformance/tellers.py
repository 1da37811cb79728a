"""The story in each provider's words: what was pulled and posted, as events on the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from core.events.envelope import parse_json
from core.providers.contracts import Adapted, Context, KnownAccount
from core.providers.registry import Format, Provider, adapt, adapt_webhook
from tests.acts import event
from tests.conformance.household import ACCOUNTS, MOVES, Account, Move, balance, money, pulls, shown

Telling = list[bytes]
WINDOW = timedelta(days=90)
# How much later Enable Banking gives some rows their references.
_UNTIL_REFERRED = timedelta(days=7)
# In Plaid's telling the login is renewed in May: the checking account and all of its rows have other ids from then on.
RENEWED = date(2026, 5, 1)


def plain() -> Telling:
    """Our own events, one for every change that the household's bank made known."""
    return list(_plain())


def _plain() -> Iterator[bytes]:
    for account in ACCOUNTS:
        whose = {"account_id": account.name, "user_id": "u", "kind": account.kind}
        for moment in pulls():
            owed = balance(account, moment.date()) * (1 if account.kind == "asset" else -1)
            data = whose | {"current": money(owed), "currency": "USD", "as_of": moment.isoformat()}
            yield event("balance.reported", moment, f"b-{account.name}-{moment}", data)
    for move in MOVES:
        known = [(move.seen, move.cents), *move.edits]
        for number, (day, cents) in enumerate(known):
            yield event("transaction.recorded", _at(day), f"{move.key}-{number}", _recorded(move, cents))
        if move.pending_from is not None:
            data = _recorded(move, move.cents) | {"pending": True}
            yield event("transaction.recorded", _at(move.pending_from), f"{move.key}-p", data)
        if move.gone is not None:
            data = {"account_id": move.account, "transaction_id": move.key}
            yield event("transaction.removed", _at(move.gone), f"{move.key}-gone", data)


def _recorded(move: Move, cents: int) -> dict[str, Any]:
    about = {"account_id": move.account, "transaction_id": move.key, "currency": "USD"}
    return about | {"amount": money(cents), "posted_at": move.day.isoformat(), "pending": False}


def plaid() -> Telling:
    """Pages of transactions/sync with what changed since the last pull, and the pointers that announce them."""
    told: dict[tuple[str, str], tuple[str, int]] = {}
    events: Telling = []
    for moment in pulls():
        hook = {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": "item"}
        assert adapt_webhook(Provider.PLAID, hook, _context("plaid", moment, _plaid_ids())).refreshes
        for number, page in enumerate(_plaid_pages(moment, told)):
            at = moment + timedelta(seconds=number)
            events += _bytes(adapt(Format.PLAID_SYNC, page, _context("plaid", at, _plaid_ids())))
    return events


def _plaid_ids() -> dict[str, KnownAccount]:
    ids = {f"plaid-{a.name}": KnownAccount(a.name, user_id="u", connection="item") for a in ACCOUNTS}
    return ids | {"plaid-renewed": KnownAccount("checking", user_id="u", since=RENEWED, connection="item")}


def _plaid_account(account: Account, moment: datetime) -> str:
    is_renewed = account.name == "checking" and moment.date() >= RENEWED
    return "plaid-renewed" if is_renewed else f"plaid-{account.name}"


def _plaid_pages(moment: datetime, told: dict[tuple[str, str], tuple[str, int]]) -> Iterator[dict[str, Any]]:
    """What changed, seven rows a page and the removals first. `told` is what the pages before have left."""
    changes: list[tuple[str, dict[str, Any]]] = []
    for account in ACCOUNTS:
        name = _plaid_account(account, moment)
        now = {(name, _plaid_id(name, move, state)): (move, state) for move, state in shown(account, moment.date())}
        for key in [key for key in told if key[0] == name and key not in now]:
            del told[key]
            changes.append(("removed", {"account_id": key[0], "transaction_id": key[1]}))
        for key, (move, state) in now.items():
            state_of = (state, move.cents_at(moment.date()))
            if told.get(key) != state_of:
                section = "modified" if key in told else "added"
                changes.append((section, _plaid_row(key, move, state, state_of[1])))
                told[key] = state_of
    types = {"checking": "depository", "savings": "depository", "card": "credit", "mortgage": "loan"}
    accounts = [
        {
            "account_id": _plaid_account(account, moment),
            "type": types[account.name],
            "name": account.name,
            "balances": {
                "current": parse_json(money(balance(account, moment.date()) * _sign(account)).encode()),
                "iso_currency_code": "USD",
            },
        }
        for account in ACCOUNTS
    ]
    for start in range(0, max(len(changes), 1), 7):
        page: dict[str, Any] = {"accounts": accounts, "added": [], "modified": [], "removed": []}
        for section, row in changes[start : start + 7]:
            page[section].append(row)
        yield page


def _plaid_id(account: str, move: Move, state: str) -> str:
    return f"{account}-{move.key}-{state}"


def _plaid_row(key: tuple[str, str], move: Move, state: str, cents: int) -> dict[str, Any]:
    """Positive when money leaves. Every other posted row does not point back to its pending one."""
    points_back = state == "posted" and move.pending_from is not None and len(move.key) % 2 == 0
    return {
        "account_id": key[0],
        "transaction_id": key[1],
        "amount": parse_json(money(-cents).encode()),
        "iso_currency_code": "USD",
        "date": move.day.isoformat(),
        "datetime": f"{move.day}T00:00:00Z",
        "pending": state == "pending",
        "pending_transaction_id": _plaid_id(key[0], move, "pending") if points_back else None,
        "name": move.text,
    }


def teller() -> Telling:
    """Accounts, balances and windows of transactions, and each new row once more by webhook."""
    known = {f"acc-{a.name}": KnownAccount(a.name, "u", a.kind, "USD", connection="enr") for a in ACCOUNTS}
    events: Telling = []
    for moment in pulls():
        context = _context("teller", moment, known)
        for account in ACCOUNTS:
            owed = balance(account, moment.date()) * _sign(account)
            ledger = {"account_id": f"acc-{account.name}", "ledger": money(owed), "available": None}
            events += _bytes(adapt(Format.TELLER, ledger, context))
            rows = [_teller_row(account, *row, moment) for row in shown(account, moment.date(), moment.date() - WINDOW)]
            events += _bytes(adapt(Format.TELLER, rows, context))
            payload = {"enrollment_id": "enr", "transactions": rows[-2:]}
            hook = {"id": "wh", "type": "transactions.processed", "timestamp": moment.isoformat(), "payload": payload}
            events += _bytes(
                adapt_webhook(Provider.TELLER, hook, _context("teller", moment + timedelta(hours=1), known))
            )
    return events


def _teller_row(account: Account, move: Move, state: str, moment: datetime) -> dict[str, Any]:
    """Inverted on credit accounts. Of some rows the id changes when they post; a phantom never posts at Teller."""
    is_pending = state == "pending" or move.is_phantom
    id = f"{move.key}-hold" if is_pending and len(move.key) % 2 else move.key
    return {
        "id": id,
        "account_id": f"acc-{account.name}",
        "amount": money(move.cents_at(moment.date()) * _sign(account)),
        "date": move.day.isoformat(),
        "status": "pending" if is_pending else "posted",
        "description": move.text,
        "details": {"category": None},
    }


def gocardless() -> Telling:
    """Balances and windows of transactions of one account after another; only some rows have an id of GoCardless's."""
    events: Telling = []
    for moment in pulls():
        for account in ACCOUNTS:
            known = {f"gc-{account.name}": KnownAccount(account.name, "u", account.kind, "USD")}
            context = _context("gocardless", moment, known, f"gc-{account.name}")
            rows = shown(account, moment.date(), moment.date() - WINDOW)
            sections = {"booked": [], "pending": []} | _by_section([_gocardless_row(*row, moment) for row in rows])
            amount = {"amount": money(balance(account, moment.date())), "currency": "USD"}
            entries = [
                {"balanceAmount": {"amount": "1.00", "currency": "USD"}, "balanceType": "expected"},
                {"balanceAmount": amount, "balanceType": "interimBooked", "creditLimitIncluded": False},
            ]
            events += _bytes(adapt(Format.GOCARDLESS, {"transactions": sections}, context))
            events += _bytes(adapt(Format.GOCARDLESS, {"balances": entries}, context))
    return events


def _by_section(rows: list[tuple[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    sections: dict[str, list[dict[str, Any]]] = {}
    for section, row in rows:
        sections.setdefault(section, []).append(row)
    return sections


def _gocardless_row(move: Move, state: str, moment: datetime) -> tuple[str, dict[str, Any]]:
    """Signed as the holder's money. A row without an id has a blank one of the bank's, or one that it uses again."""
    amount = {"amount": money(move.cents_at(moment.date())), "currency": "USD"}
    row: dict[str, Any] = {"bookingDate": move.day.isoformat(), "transactionAmount": amount}
    row |= {"transactionId": move.text if len(move.key) % 2 else "", "remittanceInformationUnstructured": move.text}
    if state == "pending" or move.is_phantom:
        return "pending", row
    has_id = bool(move.edits) or len(move.key) % 3 == 0
    return "booked", row | ({"internalTransactionId": f"int-{move.key}"} if has_id else {})


def mx() -> Telling:
    """Lists of accounts and transactions, and every change of a transaction posted with its revision."""
    known = {f"ACT-{a.name}": KnownAccount(a.name, "u", connection="MBR-1") for a in ACCOUNTS}
    events: Telling = []
    for moment in pulls():
        context = _context("mx", moment, known)
        accounts = [_mx_account(account, moment) for account in ACCOUNTS]
        events += _bytes(adapt(Format.MX, {"accounts": accounts}, context))
        since = moment.date() - WINDOW
        rows = [_mx_row(move, state, moment) for a in ACCOUNTS for move, state in shown(a, moment.date(), since)]
        events += _bytes(adapt(Format.MX, {"transactions": rows}, context))
    for move in MOVES:
        for hook in _mx_hooks(move):
            events += _bytes(adapt_webhook(Provider.MX, hook, _context("mx", _at(move.seen), known)))
    return events


def _mx_account(account: Account, moment: datetime) -> dict[str, Any]:
    types = {"checking": "CHECKING", "savings": "SAVINGS", "card": "CREDIT_CARD", "mortgage": "MORTGAGE"}
    owed = money(balance(account, moment.date()) * _sign(account))
    about = {"guid": f"ACT-{account.name}", "type": types[account.name], "name": account.name, "is_closed": False}
    return about | {"balance": parse_json(owed.encode()), "currency_code": "USD", "updated_at": moment.isoformat()}


def _mx_row(move: Move, state: str, moment: datetime) -> dict[str, Any]:
    """Always positive, the sign in `type`; as of its last change."""
    cents = move.cents_at(moment.date())
    noon = f"{move.day}T12:00:00.000Z"
    return {
        "guid": f"TRN-{move.key}",
        "account_guid": f"ACT-{move.account}",
        "amount": parse_json(money(abs(cents)).encode()),
        "type": "CREDIT" if cents > 0 else "DEBIT",
        "status": state.upper(),
        "date": move.day.isoformat(),
        "posted_at": None if state == "pending" else noon,
        "currency_code": "USD",
        "description": move.text,
        "updated_at": _at(move.changed_at(moment.date())).isoformat(),
    }


def _mx_hooks(move: Move) -> Iterator[dict[str, Any]]:
    """Each state that the move went through, its times in seconds since 1970."""
    changes = [move.pending_from, move.seen, *(day for day, _ in move.edits), move.gone]
    for revision, day in enumerate(day for day in changes if day is not None):
        state = move.state_at(day)
        row = _mx_row(move, "posted" if state == "gone" else state, _at(day))
        noon = int(datetime.combine(move.day, time(12), UTC).timestamp())
        action = "deleted" if state == "gone" else "updated" if revision else "created"
        times = {"posted_at": row["posted_at"] and noon, "date": noon, "updated_at": int(_at(day).timestamp())}
        yield row | times | {"action": action, "revision": revision + 1, "member_guid": "MBR-1", "user_guid": "USR-1"}


def simplefin() -> Telling:
    """All accounts in each answer, as the server read them in the morning; some rows get their id when they post."""
    known = {f"ACT-{a.name}": KnownAccount(a.name, "u", a.kind) for a in ACCOUNTS}
    events: Telling = []
    for moment in pulls():
        accounts = [_simplefin_account(account, moment) for account in ACCOUNTS]
        connection = {"conn_id": "CON-1", "name": "Bank", "org_id": "ORG-1", "sfin_url": "https://bank.example"}
        body = {"errlist": [], "connections": [connection], "accounts": accounts}
        events += _bytes(adapt(Format.SIMPLEFIN, body, _context("simplefin", moment, known)))
    return events


def _simplefin_account(account: Account, moment: datetime) -> dict[str, Any]:
    rows = shown(account, moment.date(), moment.date() - WINDOW)
    return {
        "id": f"ACT-{account.name}",
        "name": account.name,
        "conn_id": "CON-1",
        "currency": "USD",
        "balance": money(balance(account, moment.date())),
        "available-balance": "1.00",
        "balance-date": int((moment - timedelta(hours=2)).timestamp()),
        "transactions": [_simplefin_row(*row, moment) for row in rows],
    }


def _simplefin_row(move: Move, state: str, moment: datetime) -> dict[str, Any]:
    """Signed as the holder's money. A date is midnight or noon; there are no removals, so a phantom never posts."""
    is_pending = state == "pending" or move.is_phantom
    clock = time(12) if len(move.key) % 3 else time(0)
    day = int(datetime.combine(move.day, clock, UTC).timestamp())
    return {
        "id": f"{move.key}-hold" if is_pending and len(move.key) % 2 else move.key,
        "posted": 0 if is_pending else day,
        "transacted_at": day,
        "pending": is_pending,
        "amount": money(move.cents_at(moment.date())),
        "description": move.text,
        "memo": "",
    }


def enablebanking() -> Telling:
    """Balances and pulls of several pages; some rows never have a reference, others get it a week later."""
    events: Telling = []
    for moment in pulls():
        for account in ACCOUNTS:
            known = {f"hash-{account.name}": KnownAccount(account.name, "u", account.kind, "USD")}
            context = _context("enablebanking", moment, known, f"hash-{account.name}")
            rows = [_enablebanking_row(*row, moment) for row in shown(account, moment.date(), moment.date() - WINDOW)]
            pages = [{"transactions": rows[at : at + 7], "continuation_key": "on"} for at in range(0, len(rows), 7)]
            events += _bytes(adapt(Format.ENABLEBANKING, [*pages, {"transactions": []}], context))
            amounts = (("ITAV", "1.00"), ("CLBD", money(balance(account, moment.date()))), ("OTHR", "2.00"))
            entries = [
                {"name": type, "balance_type": type, "balance_amount": {"amount": amount, "currency": "USD"}}
                for type, amount in amounts
            ]
            events += _bytes(adapt(Format.ENABLEBANKING, {"balances": entries}, context))
    return events


def first_told(dialect: str, move: Move) -> datetime:
    """When a telling first says that a move is booked, under the key that stays: in the first pull that can show it."""
    shown_at = [moment for moment in pulls() if moment.date() >= move.seen]
    is_renamed = dialect == "enablebanking" and not move.edits and len(move.key) % 3 == 1
    named = [moment for moment in shown_at if moment.date() >= move.seen + _UNTIL_REFERRED]
    return min(named) if is_renamed and named else min(shown_at)


def _enablebanking_row(move: Move, state: str, moment: datetime) -> dict[str, Any]:
    """Without a sign, the direction beside it. The id of the pull is another one each time."""
    cents, is_pending = move.cents_at(moment.date()), state == "pending" or move.is_phantom
    is_late = len(move.key) % 3 == 1 and moment.date() < move.seen + _UNTIL_REFERRED
    has_reference = bool(move.edits) or (len(move.key) % 3 != 0 and not is_late)
    return {
        "entry_reference": f"ref-{move.key}" if has_reference and not is_pending else None,
        "transaction_id": f"{move.key}-{moment}",
        "transaction_amount": {"amount": money(abs(cents)), "currency": "USD"},
        "credit_debit_indicator": "CRDT" if cents > 0 else "DBIT",
        "status": "PDNG" if is_pending else "BOOK",
        "booking_date": move.day.isoformat(),
        "remittance_information": [move.text],
    }


TELLINGS: dict[str, Callable[[], Telling]] = {
    "plain": plain,
    "plaid": plaid,
    "teller": teller,
    "gocardless": gocardless,
    "mx": mx,
    "simplefin": simplefin,
    "enablebanking": enablebanking,
}


def _at(day: date) -> datetime:
    """The moment of a day at which the bank made its changes known."""
    return datetime.combine(day, time(10), UTC)


def _sign(account: Account) -> int:
    return 1 if account.kind == "asset" else -1


def _context(
    source: str, moment: datetime, accounts: dict[str, KnownAccount], account_id: str | None = None
) -> Context:
    return Context(pulled_at=moment, source=source, accounts=accounts, account_id=account_id)


def _bytes(adapted: Adapted) -> Telling:
    assert not adapted.refreshes
    return [each.event for each in adapted.events]
