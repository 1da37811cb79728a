"""The Redis-protocol stream: append, read, trim, durability, and the stats that drains keep there."""
