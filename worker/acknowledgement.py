"""Acknowledging triggers to a broker that has just gone.

kombu forgets a message once the broker has heard that it is done. If the broker cannot be told, the message goes on to
count as being worked on, for as long as the worker lives; and a worker with as many of them as it may hold asks for no
more, on whatever connection. So a broker that died at the wrong moment left a worker deaf for good, which looked well.

Here the message is forgotten all the same, and the error goes on to whoever asked. The broker still has it, and gives
it out again after its patience: all tasks may run twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis as redis_transport
from kombu.transport import virtual


class ForgettingQoS(redis_transport.QoS):
    """What a channel has handed out; an acknowledgement that fails takes its message off as well."""

    def ack(self, delivery_tag: str) -> None:
        """Tell the broker that a message is done."""
        with self._forgetting(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Tell the broker that a message is not wanted here."""
        with self._forgetting(delivery_tag):
            super().reject(delivery_tag, requeue)

    @contextmanager
    def _forgetting(self, delivery_tag: str) -> Iterator[None]:
        try:
            yield
        except self.channel.connection_errors:  # type: ignore[attr-defined]  # made with the channel
            forget: Callable[[Any, str], None] = virtual.QoS.ack
            forget(self, delivery_tag)
            raise


def forget_what_cannot_be_acknowledged() -> None:
    """Let every channel of this process do so from now on."""
    redis_transport.Channel.QoS = ForgettingQoS
