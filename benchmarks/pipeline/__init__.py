"""Measures how fast events are applied, and what that is compared with."""
