"""Names that a caller misspelt: ignored, such a filter would list everybody's goals, and such a field do nothing."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

SHOWN_MOST = 10
"""How many unknown names one answer lists; a body may have a million."""
_NAME_LONGEST = 60
# Of 0 to 1: `user` is as close to `user_id` as 0.73.
_CLOSE = 0.6


def unknown_names(given: Iterable[str], known: Collection[str]) -> list[tuple[str, str]]:
    """The given names that are not known, at most SHOWN_MOST, each with what a refusal says of it."""
    unknown = sorted(set(given).difference(known))[:SHOWN_MOST]
    return [(name[:_NAME_LONGEST], _what_is_wrong(name[:_NAME_LONGEST], known)) for name in unknown]


def _what_is_wrong(name: str, known: Collection[str]) -> str:
    plain = {_plain(each): each for each in known}
    nearest = get_close_matches(_plain(name), plain, 1, _CLOSE)
    if nearest:
        return f"is not known: did you mean {plain[nearest[0]]}?"
    return f"is not known: there are {', '.join(sorted(known))}" if known else "is not known: there are none"


def _plain(name: str) -> str:
    """A name without what spellings differ in: `userId` and `User-ID` are `user_id`."""
    return "".join(filter(str.isalnum, name.lower()))
