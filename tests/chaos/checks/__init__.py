"""The checks after a run: what is stored and served, compared with what was sent and requested, and with the oracle."""
