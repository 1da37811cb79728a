"""A request to stop is raised, wherever it finds the program."""

from __future__ import annotations

import os
import signal
import time

import pytest

from milepost.embedded.child import StopAsked, stop_requests


class Finalized:
    """An object that is asked to stop while it is finalized, where Python drops what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def run() -> None:
    """Finalize one, then wait for the end."""
    Finalized()
    time.sleep(30)


def test_a_request_during_a_finalizer_is_raised_after_it() -> None:
    """It is counted once, and no timer is left."""
    with stop_requests() as requests:
        with pytest.raises(StopAsked):
            run()
        assert requests.count == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_only_the_first_request_is_raised() -> None:
    """Later ones are counted."""
    with stop_requests() as requests:
        with pytest.raises(StopAsked):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert (requests.count, requests.is_urgent) == (2, True)
