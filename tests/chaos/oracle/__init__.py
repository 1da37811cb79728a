"""Computes goals from events, links and manual amounts: simple, slow, written from the definitions, without core."""
