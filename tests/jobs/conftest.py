"""The state that the verification's tests have copies of, for the job that verifies it."""

from __future__ import annotations

from tests.verify.conftest import filled, filled_template

__all__ = ["filled", "filled_template"]
