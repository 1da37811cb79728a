"""How providers spell what happened, and the events that their bodies become: one pure adapter each."""

from core.events.providers.adapters import adapt, adapt_webhook, envelopes_of_row
from core.events.providers.naming import accounts_named, connections_named
from core.events.providers.seam import Adapted, AdaptedEvent, Context, Format, KnownAccount, Provider, Refresh

__all__ = [
    "Adapted",
    "AdaptedEvent",
    "Context",
    "Format",
    "KnownAccount",
    "Provider",
    "Refresh",
    "accounts_named",
    "adapt",
    "adapt_webhook",
    "connections_named",
    "envelopes_of_row",
]
