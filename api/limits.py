"""Rate limits: how many requests a key may make in a time, and how many an address without a valid key or signature.

The counters are those of a process: of N processes that serve one address, each counts its own requests. A limit of
6,000 a minute lets 6,000 requests through at once, and from then on one every hundredth of a second (the generic cell
rate algorithm, which keeps one number for each caller).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from cachetools import TTLCache
from fastapi import Request

from core.errors import MilepostError
from core.rate_limit import LONGEST_S, RateLimit
from core.settings import Settings

CALLERS_MOST = 100_000
"""How many keys and addresses a process counts; of more, those that came longest ago are forgotten."""
# Whoever has one address of IPv6 has all of such a network.
_NETWORK_OF_ONE = 64


class RateExceeded(MilepostError):
    """A caller made more requests than its limit allows; `state` says when the next one may come."""

    def __init__(self, state: LimitState) -> None:
        super().__init__(f"Too many requests: at most {state.limit}; try again in {_in_words(state.wait_s)}")
        self.state = state


@dataclass(frozen=True, slots=True)
class LimitState:
    """What is left of a limit: `remaining` requests now, and one more, or the next one, after `wait_s` seconds."""

    limit: RateLimit
    remaining: int
    wait_s: float

    @property
    def headers(self) -> dict[str, str]:
        """The fields RateLimit-Policy and RateLimit, as the IETF's draft on rate limit headers has them."""
        return {
            "RateLimit-Policy": f'"default";q={self.limit.requests};w={self.limit.period_s}',
            "RateLimit": f'"default";r={self.remaining};t={math.ceil(self.wait_s)}',
        }


class RateLimiter:
    """Counts the requests of callers. Only the event loop calls this, so there is nothing to lock."""

    def __init__(self) -> None:
        # When all that a caller has used up will have come back to it.
        self._full_again_s: TTLCache[str, float] = TTLCache(CALLERS_MOST, LONGEST_S)

    def use(self, caller: str, limit: RateLimit) -> LimitState:
        """Count a request; raises RateExceeded, and then counts none."""
        now_s = time.monotonic()
        full_again_s = max(self._full_again_s.get(caller, now_s), now_s) + limit.period_s / limit.requests
        excess_s = full_again_s - now_s - limit.period_s
        if excess_s > 1e-9:
            raise RateExceeded(LimitState(limit, 0, excess_s))
        self._full_again_s[caller] = full_again_s
        return LimitState(limit, self._remaining(full_again_s - now_s, limit), limit.period_s / limit.requests)

    def check(self, caller: str, limit: RateLimit) -> None:
        """Raise RateExceeded if a request would exceed the limit; counts none."""
        now_s = time.monotonic()
        used_s = max(self._full_again_s.get(caller, now_s) - now_s, 0.0)
        excess_s = used_s + limit.period_s / limit.requests - limit.period_s
        if excess_s > 1e-9:
            raise RateExceeded(LimitState(limit, 0, excess_s))

    @staticmethod
    def _remaining(used_s: float, limit: RateLimit) -> int:
        return max(0, math.floor((limit.period_s - used_s) * limit.requests / limit.period_s + 1e-9))


class Limits:
    """The limits of an installation, and what its callers have used of them in this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._of_tenants: dict[str, RateLimit | None] = {}
        self._of_addresses = RateLimit.parse(settings.address_rate_limit) if settings.address_rate_limit else None
        self._limiter = RateLimiter()

    def use_key(self, tenant: str, key_id: str) -> LimitState | None:
        """Count a request of a key; None if the tenant's keys have no limit. Raises RateExceeded."""
        if tenant not in self._of_tenants:
            self._of_tenants[tenant] = self._settings.limit_of(tenant)
        limit = self._of_tenants[tenant]
        return None if limit is None else self._limiter.use(f"key {key_id}", limit)

    def use_address(self, request: Request) -> None:
        """Count a request without a valid key or signature; raises RateExceeded."""
        if self._of_addresses is not None:
            self._limiter.use(_caller(request), self._of_addresses)

    def check_address(self, request: Request) -> None:
        """Raise RateExceeded if the address has made too many requests without a valid key or signature."""
        if self._of_addresses is not None:
            self._limiter.check(_caller(request), self._of_addresses)


def _caller(request: Request) -> str:
    return f"address {network_of(request.client.host if request.client else None)}"


def network_of(address: str | None) -> str:
    """What an address counts as: itself, or its network if it is one of IPv6; one name for all that have none."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return "unknown"
    if not isinstance(found, IPv6Address):
        return str(found)
    # IPv4 written as IPv6 is IPv4.
    return str(found.ipv4_mapped) if found.ipv4_mapped else f"{int(found) >> (128 - _NETWORK_OF_ONE):x}"


def _in_words(wait_s: float) -> str:
    """A time, rounded up to whole seconds, or to whole minutes from two minutes on."""
    seconds = math.ceil(wait_s)
    count, unit = (seconds, "second") if seconds < 120 else (math.ceil(seconds / 60), "minute")
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
