"""Whether what comes is likely to be news: then asking first which transactions are known costs more than it saves."""

from __future__ import annotations

_BATCHES_LEAST = 8


class News:
    """How the batches of one drain went so far.

    A batch that knows one of its transactions after all is begun anew, which costs about six times what the question
    does. So it is left out only after eight batches in a row that knew none; feeds that repeat themselves always ask.
    """

    def __init__(self, batches: int = 0) -> None:
        self._batches = batches

    @classmethod
    def expected(cls) -> News:
        """As after many batches of news."""
        return cls(_BATCHES_LEAST)

    @property
    def is_likely(self) -> bool:
        """Whether the next batch most likely knows none of its transactions."""
        return self._batches >= _BATCHES_LEAST

    def note(self, *, is_news: bool) -> None:
        """Note whether a batch knew none of its plain transactions."""
        self._batches = self._batches + 1 if is_news else 0
