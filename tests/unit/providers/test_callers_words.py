"""What the caller says about a body: it is used where the body says nothing, and refused where it is invalid."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from core.errors import ProviderBodyRefused
from core.events.envelope import check_envelope, parse_json
from core.providers.contracts import Context, KnownAccount
from core.providers.registry import Format, adapt
from tests.unit.providers.adapted import PULLED, context, only, values
from tests.unit.providers.test_plaid import account, row


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"source": ""}, "source"),
        ({"account_id": "a\n"}, "account_id"),
        ({"user_id": "x" * 201}, "user_id"),
        ({"kind": "debt"}, "kind"),
        ({"currency": "usd"}, "currency"),
    ],
)
def test_an_invalid_value_refuses_the_body(given: dict[str, Any], where: str) -> None:
    """Otherwise every row would become a dead letter."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt(Format.PLAID_SYNC, {"added": [row()]}, context(**given))
    assert refused.value.where == where


def test_the_type_that_a_provider_gives_wins_over_the_kind_of_the_whole_body() -> None:
    """`kind` is for accounts whose bodies have none: a page of several accounts is not of one kind."""
    body = {"accounts": [account("depository", 5)], "added": [row()]}
    adapted = adapt(Format.PLAID_SYNC, body, context(kind="liability"))
    assert only(adapted, "account.changed")["kind"] == "asset"
    assert only(adapted, "balance.reported")["kind"] == "asset"


def test_the_registered_kind_of_an_account_wins_over_its_type() -> None:
    """The integrator knows what a home-equity line is to its holder."""
    known = {"a": KnownAccount("a", kind="liability")}
    adapted = adapt(Format.PLAID_BALANCES, {"accounts": [account("depository", 5)]}, context(accounts=known))
    assert {data["kind"] for _, data in values(adapted)} == {"liability"}


def test_a_pull_is_the_same_moment_in_every_zone() -> None:
    """The same instant, written with another offset, makes the same events."""
    elsewhere = datetime.fromisoformat("2026-03-10T21:00:00+09:00")
    assert elsewhere == PULLED
    body = {"accounts": [account("credit", 5)], "added": [row()]}
    assert adapt(Format.PLAID_SYNC, body, context(elsewhere)) == adapt(Format.PLAID_SYNC, body, context())


def test_a_member_that_is_kept_whole_has_its_accounts_in_its_context() -> None:
    """They belong to it by their connection; the row does not name them."""
    known = {"ACT-1": KnownAccount("main", connection="MBR-1"), "ACT-2": KnownAccount("other", connection="MBR-2")}
    said = Context(PULLED, "mx", known)
    member = {"guid": None, "id": "MBR-1", "connection_status": "CONNECTED"}
    broken = adapt(Format.MX, {"members": [member]}, said)
    kept = check_envelope(parse_json(broken.events[0].event))
    assert set(kept.data["context"]["accounts"]) == {"ACT-1"}
