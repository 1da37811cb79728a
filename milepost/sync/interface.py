# Generated from milepost/client by `make sync-client`; change it there.
"""The whole interface: all resources over one transport."""

from milepost.sync.accounts import Accounts
from milepost.sync.dead_letters import DeadLetters
from milepost.sync.endpoints import Endpoints
from milepost.sync.events import Events
from milepost.sync.goals import Goals
from milepost.sync.messages import Messages
from milepost.sync.providers import Providers


class Interface(Goals, Accounts, Events, Messages, Endpoints, DeadLetters, Providers):
    """All that can be done in one tenant: goals, accounts, events, messages, endpoints, dead letters and providers."""
