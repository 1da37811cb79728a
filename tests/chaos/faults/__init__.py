"""The faults: each is injected, lasts for a while, and is repaired; the seed decides their order."""
