"""The whole interface: all resources over one transport."""

from milepost.client.accounts import Accounts
from milepost.client.dead_letters import DeadLetters
from milepost.client.endpoints import Endpoints
from milepost.client.events import Events
from milepost.client.goals import Goals
from milepost.client.messages import Messages
from milepost.client.providers import Providers


class Interface(Goals, Accounts, Events, Messages, Endpoints, DeadLetters, Providers):
    """All that can be done in one tenant: goals, accounts, events, messages, endpoints, dead letters and providers."""
