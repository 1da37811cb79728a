"""The checks after a run: what is stored and served, against what was sent, asked for, and what the oracle says."""
