"""The Redis-protocol stream: append, read, trim, durability."""
