"""The log files of children: emptied at each start, limited in size, searched for warnings to show."""

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import simplejson

KEEP_BYTES = 20 * 1024 * 1024
_WARNING = re.compile(
    r'\b(WARNING|ERROR|CRITICAL)\b|\[(warning|error|critical) *\]|"level": *"(warning|error|critical)"'
)
_LINES_A_MINUTE = 5
_LINE_LENGTH = 240


def rotate_log(path: Path) -> None:
    """Keep the previous log as NAME.1 and start a new one."""
    if path.exists():
        path.replace(_previous(path))


def bound_log(path: Path) -> None:
    """Copy a log that has grown too large to NAME.1 and empty it; its writers append, so they go on at 0."""
    if path.exists() and path.stat().st_size > KEEP_BYTES:
        # Removed first: through a link of that name the log would be written somewhere else.
        _previous(path).unlink(missing_ok=True)
        shutil.copyfile(path, _previous(path))
        _previous(path).chmod(0o600)
        with path.open("r+b") as file:
            file.truncate(0)


@dataclass(slots=True)
class LogReader:
    """Reads the new lines of one log and selects warnings and errors, a few a minute."""

    path: Path
    _position: int = 0
    _rest: bytes = b""
    _reported_at: list[float] = field(default_factory=list)

    def new_warnings(self) -> Iterator[str]:
        """Yield new warnings and errors, shortened; those beyond a few a minute are only in the log."""
        for line in self._new_lines():
            if _WARNING.search(line) and self._may_report():
                yield _readable(line)[:_LINE_LENGTH]

    def last_line(self) -> str:
        """The last line that is not empty."""
        try:
            lines = self.path.read_text("utf-8", "replace").split("\n")
        except FileNotFoundError:
            return ""
        return next((line.strip()[:_LINE_LENGTH] for line in reversed(lines) if line.strip()), "")

    def _new_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            if file.seek(0, 2) < self._position:
                self._position = 0
            file.seek(self._position)
            *whole, self._rest = (self._rest + file.read()).split(b"\n")
            self._position = file.tell()
        return [line.decode("utf-8", "replace").strip() for line in whole]

    def _may_report(self) -> bool:
        now = time.monotonic()
        self._reported_at = [moment for moment in self._reported_at if moment > now - 60]
        if len(self._reported_at) >= _LINES_A_MINUTE:
            return False
        self._reported_at.append(now)
        return True


def _readable(line: str) -> str:
    """The level and event of a JSON log line; any other line unchanged."""
    try:
        entry = simplejson.loads(line)
    except ValueError:
        return line
    return f"{entry.get('level', '')}: {entry.get('event', line)}" if isinstance(entry, dict) else line


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
