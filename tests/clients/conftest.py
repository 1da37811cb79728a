"""Clients that others' generators make of the OpenAPI text, with what `make test-clients` installs for them."""

from __future__ import annotations

import os

# Only that target sets it: the generators need environments of their own, and npm.
collect_ignore_glob = [] if "CLIENTS" in os.environ else ["test_*.py"]
