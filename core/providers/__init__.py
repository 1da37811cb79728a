"""Turns what providers send into our events: one module a provider, with its adapter, webhook and signature."""
