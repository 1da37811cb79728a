"""Checks of events: none is lost, none is applied that was not sent or was refused, and bad ones are dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from random import Random

from tests.chaos.checks.evidence import Evidence, Row, event_of
from tests.chaos.load.events import FACT, NOTHING, Event
from tests.chaos.load.sent_log import Answer, SentEvent, SentLog
from tests.chaos.load.world import ZONES
from tests.chaos.oracle.facts import ATTRIBUTES, Account, Statement, TenantFacts
from tests.chaos.verdict import Verdict

_ATTRIBUTES = (*ATTRIBUTES, "connection", "connection_reason")


def applied_events(sent_log: SentLog, standing: set[str]) -> list[Event]:
    """The events that were applied: all that were acknowledged, and of the others those that the tables name.

    An unacknowledged event that no table names never arrived, or was superseded: the tables cannot tell which.
    """
    return [
        sent.event
        for sent in sent_log.events.values()
        if sent.event.outcome == FACT and (sent.is_acknowledged or sent.event.event_id in standing)
    ]


def fold(events: Sequence[Event], seed: int, now: datetime) -> dict[str, TenantFacts]:
    """The oracle's facts of the events, as they are at `now`; it applies the events in an order of its own."""
    facts = {tenant: TenantFacts(zone, now) for tenant, zone in ZONES.items()}
    for event in Random(f"{seed}:oracle").sample(events, len(events)):
        facts[event.tenant].apply(event.body)
    return facts


def check_sent(verdict: Verdict, sent_log: SentLog, evidence: Evidence) -> None:
    """Every event that the tables name was sent, and was not refused."""
    standing = evidence.standing()
    unknown = [f"{event_id} is applied, and nobody sent it" for event_id in standing if event_id not in sent_log.events]
    sent = [sent_log.events[event_id] for event_id in standing if event_id in sent_log.events]
    refused = [f"{each.event.event_id} is applied, and was refused" for each in sent if each.is_refused]
    unfit = [
        f"{each.event.event_id} is applied, and is {each.event.outcome}" for each in sent if each.event.outcome != FACT
    ]
    verdict.record("applied was attempted", len(standing), [*unknown, *refused, *unfit])


def check_facts(verdict: Verdict, facts: Mapping[str, TenantFacts], evidence: Evidence) -> None:
    """For every key the stored fact is the oracle's, from the same event: nothing acknowledged is lost."""
    expected = {
        key: value
        for tenant, of in facts.items()
        for name, a in of.accounts.items()
        for key, value in _expected(tenant, name, a)
    }
    verdict.compare("acknowledged is applied", dict(expected), dict(_stored(evidence)))


def check_dead(verdict: Verdict, sent_log: SentLog, evidence: Evidence) -> None:
    """Each bad event that was acknowledged is a dead letter, with its reason, as often as it was accepted; no other."""
    by_body = {(each.event.tenant, each.event.body): each for each in sent_log.events.values()}
    counts: Counter[str] = Counter()
    rows = []
    for letter in evidence["dead_letters"]:
        sent = by_body.get((letter["tenant"], bytes(letter["event"])))
        place = f"{letter['tenant']} {letter['shard']} {letter['entry_id']}"
        if sent is None:
            rows.append(f"{place}: {letter['code']}, and nobody sent it")
        else:
            counts[sent.event.event_id] += 1
            if sent.event.outcome != letter["code"]:
                rows.append(f"{place}: {sent.event.event_id} is {letter['code']}, not {sent.event.outcome}")
    rows += list(_miscounted(sent_log.events.values(), counts))
    verdict.record("dead letters", len(evidence["dead_letters"]) + len(sent_log.events), rows)


def _miscounted(sent: Iterable[SentEvent], counts: Counter[str]) -> Iterable[str]:
    for each in sent:
        if each.event.outcome in (FACT, NOTHING):
            continue
        found, least = counts[each.event.event_id], each.answers.get(Answer.ACKNOWLEDGED, 0)
        if not least <= found <= each.most:
            yield f"{each.event.event_id} ({each.event.outcome}): {found} dead letters, not {least} to {each.most}"


def _expected(tenant: str, name: str, account: Account) -> Iterable[tuple[str, str]]:
    places, missing, waiting = account.places(), account.missing(), account.waiting()
    for transaction_id, stated in account.transactions.items():
        value, placed_at = stated.value, account.stored_place(transaction_id, places)
        text = f"amount {value.amount_minor}, at {placed_at}, pending {value.is_pending}, replaces {value.replaces}"
        text += f", waits until {waiting.get(transaction_id)}"
        is_removed = value.is_removal or transaction_id in missing
        yield f"{tenant} {name} transaction {transaction_id}", _line(stated, "removed" if is_removed else text)
    for (as_of, currency), stated in account.reports.items():
        kind = "report" if account.is_due(as_of) and currency == account.currency else "waiting report"
        yield f"{tenant} {name} {kind} {as_of}", _line(stated, str(stated.value))
    for window in account.windows:
        yield f"{tenant} {name} window of {window.source} at {window.time}", f"{window.first} to {window.last}"
    for attribute, stated in account.attributes.items():
        yield f"{tenant} {name} {attribute}", _line(stated, str(stated.value))


def _line(stated: Statement, text: str) -> str:
    return f"{stated.event_id}: {text}"


def _stored(evidence: Evidence) -> Iterable[tuple[str, str]]:
    for row in evidence["transactions"]:
        text = (
            f"amount {row['amount_minor']}, at {row['posted_at']}, pending {row['pending']}, replaces {row['replaces']}"
        )
        text += f", waits until {row['due_at']}"
        yield (
            _key(row, f"transaction {row['transaction_id']}"),
            (f"{row['event_id']}: {'removed' if row['removed'] else text}"),
        )
    for kind, table in (("report", "reports"), ("waiting report", "waiting_reports")):
        for row in evidence[table]:
            yield _key(row, f"{kind} {row['as_of']}"), f"{row['event_id']}: {row['current_minor']}"
    for row in evidence["windows"]:
        yield (
            _key(row, f"window of {row['source']} at {row['event_time']}"),
            f"{row['from_day']} to {row['through_day']}",
        )
    for row in evidence["accounts"]:
        yield from _attributes(row)


def _key(row: Row, what: str) -> str:
    return f"{row['tenant']} {row['account_id']} {what}"


def _attributes(row: Row) -> Iterable[tuple[str, str]]:
    for attribute in _ATTRIBUTES:
        if (rank := row[f"{attribute}_rank"]) is not None:
            yield f"{row['tenant']} {row['account_id']} {attribute}", f"{event_of(rank)}: {row[attribute]}"
