"""A request to stop is raised, wherever it finds the program."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import pytest

from milepost.embedded.child import StopAsked, stop_requests


class Finalized:
    """An object that is asked to stop while it is finalized, where Python drops what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.001)


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


def test_a_request_that_code_swallows_is_raised_again() -> None:
    """Also where the exception is dropped without a word."""
    with stop_requests() as requests:
        with suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        with pytest.raises(StopAsked):
            time.sleep(30)
        assert requests.count == 1


def test_a_request_is_not_raised_again_while_it_is_handled() -> None:
    """Cleaning up takes its time, and the one who handles the request says so."""
    with stop_requests() as requests:
        try:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(30)
            finally:
                time.sleep(0.2)
        except StopAsked:
            time.sleep(0.2)
            requests.is_stopping = True
        time.sleep(0.2)
        assert requests.count == 1


def test_only_the_first_request_is_raised() -> None:
    """Later ones are counted."""
    with stop_requests() as requests:
        with pytest.raises(StopAsked):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert (requests.count, requests.is_urgent) == (2, True)
