"""What a tenant has over REST, by the address below which it is; in the order of /docs."""

from api.hosting import GOAL_ROUTES
from api.routes import (
    accounts,
    dead_letters,
    endpoints,
    events,
    history,
    messages,
    provider_accounts,
    refresh_requests,
    relinks,
    snapshots,
    unapplied,
)
from api.routing import Routes

RESOURCES = (
    ("/goals", Routes.of(GOAL_ROUTES, history.router, snapshots.router)),
    ("/accounts", accounts.router),
    ("/relinks", relinks.router),
    ("/events", Routes.of(events.router, unapplied.router)),
    ("/messages", messages.router),
    ("/endpoints", endpoints.router),
    ("/dead-letters", dead_letters.router),
    ("/refresh-requests", refresh_requests.router),
    ("/provider-accounts", provider_accounts.router),
)
