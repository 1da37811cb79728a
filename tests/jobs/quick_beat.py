"""A real beat that sends the trigger of the snapshot stage twice a second, where the schedule says once an hour."""

from __future__ import annotations

from core.settings import load_settings
from worker.app import make_worker_app


def main() -> None:
    """Run until told to stop; the servers are those of the environment."""
    app = make_worker_app(load_settings())
    app.conf.beat_schedule = {"snapshot": app.conf.beat_schedule["snapshot"] | {"schedule": 0.5}}
    app.start(["beat", "--loglevel=INFO", "--pidfile="])


if __name__ == "__main__":
    main()
