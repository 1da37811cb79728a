"""Requests during a run: goals made, linked, changed and ended over REST, each sent with a key until it is answered."""
