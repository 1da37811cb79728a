"""That messages were announced: who waits for them is notified, and finds out by itself if a notification is lost."""

from collections.abc import AsyncIterator, Iterable

import psycopg

from core.store import driver
from core.store.database import connect_arguments, driver_url
from core.store.driver import Session, Sql

CHANNEL = "milepost_messages"
_NOTIFY = Sql(f"SELECT pg_notify('{CHANNEL}', :tenant)")
_NEWEST = Sql(
    f"""SELECT g.tenant, coalesce((SELECT max(o.position) FROM outbox o WHERE o.tenant = g.tenant), 0)
    FROM {driver.keys("tenants")} AS g(tenant)"""
)


def notify(session: Session, tenant: str) -> None:
    """Notify whoever listens, once this transaction is committed, that messages of a tenant were announced."""
    _NOTIFY.run(session, {"tenant": tenant})


async def listen(url: str, *, application_name: str) -> AsyncIterator[str]:
    """The tenants whose messages are announced, as it happens; first an empty name, once nothing is missed any more.

    It has a connection of its own, which must not go through a transaction pooler. It is closed when the iteration
    ends. Raises psycopg.Error when the connection is lost.
    """
    arguments = connect_arguments(application_name, {})
    async with await psycopg.AsyncConnection.connect(driver_url(url), autocommit=True, **arguments) as connection:
        await connection.execute(f"LISTEN {CHANNEL}".encode())
        yield ""
        async for notification in connection.notifies():
            yield notification.payload


def newest_positions(session: Session, tenants: Iterable[str]) -> dict[str, int]:
    """By tenant the position of the message that was announced last; 0 where there is none."""
    return dict(_NEWEST.rows(session, {"tenants": driver.joined(tenants)}))
