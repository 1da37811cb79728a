"""How providers spell what happened, and the events that their bodies become: one pure adapter each."""

from core.events.providers.seam import Adapted, AdaptedEvent, Context, Format, KnownAccount, Provider, Refresh

__all__ = ["Adapted", "AdaptedEvent", "Context", "Format", "KnownAccount", "Provider", "Refresh"]
