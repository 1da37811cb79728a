"""Requests during a run: goals made, linked, typed and ended over REST, each sent with a key until it is answered."""
