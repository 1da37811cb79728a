"""Sends signed messages to the addresses that tenants give us: which addresses may be used, and the HTTP."""
