"""Secrets kept in files that only their owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from milepost.embedded.errors import DirectoryUnusable

# All but passing through for the group, which the server's other user may have been given.
_OPEN_TO_OTHERS = 0o067


def private_folder(path: Path) -> Path:
    """Make `path` if it is not there, with mode 700; returns it absolute. Raises DirectoryUnusable."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise DirectoryUnusable(f"{path} is not yours to write")
        if path.stat().st_uid == os.geteuid() and path.stat().st_mode & _OPEN_TO_OTHERS:
            _close(path)
    except OSError as error:
        raise DirectoryUnusable(f"cannot use {path}: {error.strerror or error}") from None
    return path.resolve()


def _close(path: Path) -> None:
    """Shut a folder to others, but not one that somebody keeps other things in."""
    if not (path / "lock").exists() and any(path.iterdir()):
        raise DirectoryUnusable(f"{path} holds other things and is open to others; choose a folder of its own")
    path.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Replace the whole file at once, synced, with mode 600."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def keep_secret(path: Path, *, prefix: str = "") -> str:
    """The secret in the file; a new one, safe in a URL, if there is none yet."""
    if not path.exists() or not path.read_text("utf-8").strip():
        write_private(path, prefix + secrets.token_urlsafe(32) + "\n")
    return path.read_text("utf-8").strip()
