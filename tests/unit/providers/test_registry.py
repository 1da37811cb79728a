"""The records of providers fit together: a name, a format or a part belongs to one provider."""

from __future__ import annotations

import pytest

from core.errors import NotFound
from core.providers.registry import PROVIDERS, Format, Provider, has_accounts, provider_of, scheme_of, webhook_of


def test_names_formats_and_parts_are_unique() -> None:
    """No two records have the same name, so that a look-up by name finds one record."""
    sources = [name for each in PROVIDERS for name in {each.name, *each.formats}]
    parts = [part.name for each in PROVIDERS for part in each.parts]
    assert len(sources) == len(set(sources))
    assert len(parts) == len(set(parts))


def test_every_part_is_in_its_providers_record() -> None:
    """A row that was stored whole names its part; if the record lacks that part, the row can never be read again."""
    for provider in PROVIDERS:
        assert {part.name.partition("/")[0] for part in provider.parts} <= {provider.name}
        assert bool(provider.parts) == bool(provider.formats)


def test_what_callers_may_name_comes_from_the_records() -> None:
    """The values of POST /events?format=, of POST /webhooks/{provider} and of /provider-accounts, which are public."""
    assert [str(each) for each in Format] == [
        "plaid-sync",
        "plaid-balances",
        "teller",
        "gocardless",
        "mx",
        "simplefin",
        "enablebanking",
    ]
    assert [str(each) for each in Provider] == ["plaid", "teller", "mx", "standard"]
    assert [each.name for each in PROVIDERS if has_accounts(each.name)] == [
        "plaid",
        "teller",
        "gocardless",
        "mx",
        "simplefin",
        "enablebanking",
    ]


@pytest.mark.parametrize("name", ["paypal", "gocardless", "simplefin", "enablebanking", "Teller", "", "plaid-sync"])
def test_a_name_that_posts_nothing_is_not_found(name: str) -> None:
    """It is no provider, or one without webhooks."""
    for look_up in (webhook_of, scheme_of):
        with pytest.raises(NotFound, match="Provider"):
            look_up(name)


def test_an_unknown_format_is_not_found() -> None:
    """A provider's name is no format unless it is one of its formats."""
    assert provider_of("plaid-sync").name == "plaid"
    with pytest.raises(NotFound):
        provider_of("plaid")
