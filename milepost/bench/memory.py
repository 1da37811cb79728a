"""How much memory processes had at their peak."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_rss_bytes() -> int:
    """The most memory that this process ever had."""
    # Not ru_maxrss: on Linux that starts at what the parent had when it made this process.
    peak = peak_rss_bytes_of("self")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if peak is None else peak  # bytes on macOS


def peak_rss_bytes_of(process: int | str) -> int | None:
    """The most memory that a running process ever had, what it shares with others included; None where none tells."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return None
    (peak_kb,) = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(peak_kb) * 1024
