"""Columns as all tables spell them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Text, text

LOWEST, HIGHEST = -(2**63), 2**63 - 1
"""The numbers that a BIGINT ends with."""


def tenant_column() -> Column[str]:
    """The first column of every primary key."""
    return Column("tenant", Text, primary_key=True)


def key_column(name: str) -> Column[str]:
    """Text that is part of the primary key."""
    return Column(name, Text, primary_key=True)


def text_column(name: str, *, required: bool = False) -> Column[str]:
    """Text; a required one has no default."""
    return Column(name, Text, nullable=not required)


def amount_column(name: str, *, required: bool = True) -> Column[int]:
    """Minor units of the row's currency."""
    zero = text("0") if required else None
    return Column(name, BigInteger, nullable=not required, server_default=zero)


def moment_column(name: str, *, required: bool = False) -> Column[object]:
    """An instant, kept as UTC."""
    return Column(name, DateTime(timezone=True), nullable=not required)


def flag_column(name: str) -> Column[bool]:
    """A claim, false unless said otherwise."""
    return Column(name, Boolean, nullable=False, server_default=text("false"))
