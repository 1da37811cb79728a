"""Any JSON value as our parser gives it, and bodies of providers with any part of them replaced by such a value."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

_TEXTS = [
    "",
    " ",
    "NaN",
    "1e400",
    "-0",
    "1.0050",
    "9" * 400,
    "2026-02-30",
    "2026-03-09",
    "0000-00-00",
    "USD",
    "usd",
    "\ud800",
    "\x00",
]
_TEXTS += [
    "asset",
    "posted",
    "pending",
    "DEBIT",
    "2026-03-09T12:00:00Z",
    "2026-03-09T24:00:00Z",
    "9999-12-31",
    "+1",
    "1,5",
]
_NUMBERS = [
    0,
    -1,
    2**31,
    10**15,
    10**400,
    True,
    Decimal("1E+400"),
    Decimal("1E-400"),
    Decimal("-0.0"),
    Decimal("0." + "1" * 30),
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(_TEXTS),
    st.sampled_from(_NUMBERS),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, bodies: list[Any]) -> Any:
    """One of the bodies, up to three of its values, however deep, replaced or taken away."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(0, 3))):
        body = _replaced(draw, body)
    return body


def _replaced(draw: st.DrawFn, value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not keys or draw(st.integers(0, 9)) == 0:
        return draw(anything)
    key = draw(st.sampled_from(keys))
    if draw(st.integers(0, 9)) == 0:
        del value[key]
    else:
        value[key] = _replaced(draw, value[key])
    return value
