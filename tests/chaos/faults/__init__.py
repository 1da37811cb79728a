"""The faults: each begins, is held for a while, and heals; which of them come when is all in the seed."""
