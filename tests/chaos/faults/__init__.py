"""The faults: each begins, is held for a while, and heals; the seed says which come when."""
