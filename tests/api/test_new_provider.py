"""What stands in the database and in paths for a provider is a name that some record has."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from core.errors import NotFound
from core.providers.sealing import Sealer
from core.services.webhooks import add_endpoint
from tests.api.conftest import SECRETS_KEY


@pytest.mark.parametrize("name", ["paypal", "gocardless", "Plaid"])
def test_an_address_is_made_for_a_provider_that_posts(
    session_factory: sessionmaker[Session], now: datetime, name: str
) -> None:
    """An unknown provider, and one without webhooks, gets no address and leaves no row."""
    with session_factory.begin() as session, pytest.raises(NotFound, match="Provider"):
        add_endpoint(session, Sealer([SECRETS_KEY]), "default", name, "test", "a secret of some length", now, actor="t")
    with session_factory() as session:
        assert session.scalar(text("SELECT count(*) FROM webhook_endpoints")) == 0
