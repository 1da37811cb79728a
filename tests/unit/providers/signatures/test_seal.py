"""Sealed secrets open only with the key and in the row with which they were sealed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.providers.sealing import CannotUnseal, Sealer

OLD, NEW = "an old key of more than thirty-two characters", "a new key of more than thirty-two characters"


@given(secret=st.binary(max_size=200), row=st.text(max_size=50))
def test_a_secret_comes_back(secret: bytes, row: str) -> None:
    """Byte for byte, and never sealed in the same way twice."""
    sealer = Sealer([OLD])
    first, second = sealer.seal(secret, row), sealer.seal(secret, row)
    assert first != second
    assert sealer.open(first, row) == sealer.open(second, row) == secret
    assert len(secret) < 4 or secret not in first


def test_a_secret_belongs_to_its_row() -> None:
    """Copied to another row it does not open."""
    sealed = Sealer([OLD]).seal(b"secret", "acme/1")
    with pytest.raises(CannotUnseal):
        Sealer([OLD]).open(sealed, "globex/1")


def test_the_key_can_be_changed() -> None:
    """With both keys what was sealed with either opens; the first seals; with the other alone nothing opens."""
    sealed = Sealer([OLD]).seal(b"secret", "r")
    both = Sealer([NEW, OLD])
    assert both.open(sealed, "r") == b"secret"
    assert Sealer([NEW]).open(both.seal(b"secret", "r"), "r") == b"secret"
    with pytest.raises(CannotUnseal):
        Sealer([NEW]).open(sealed, "r")


@given(place=st.integers(0, 1000), bit=st.integers(0, 7))
def test_no_other_bytes_open(place: int, bit: int) -> None:
    """A flipped bit, a byte less, or nothing at all."""
    sealer = Sealer([OLD])
    sealed = bytearray(sealer.seal(b"secret", "r"))
    sealed[place % len(sealed)] ^= 1 << bit
    for broken in (bytes(sealed), bytes(sealed[:-1]), bytes(sealed[: place % len(sealed)]), b""):
        with pytest.raises(CannotUnseal):
            sealer.open(broken, "r")
