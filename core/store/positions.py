"""Rows of positions: up to which entry drains have applied a shard. A batch writes the row in its own transaction."""

from datetime import datetime
from typing import NamedTuple

from core.store.driver import BY_KEY, Session, Sql
from core.store.tenants import DEFAULT

BEGINNING = "0-0"
"""The position before any entry."""


class Position(NamedTuple):
    """How far a shard is applied.

    `entry_id` is the last entry that is applied; `passed` counts all entries up to it, as the stream server counts the
    entries that it took. `server` is the process of the stream server that gave the entry its id, "" if not known.

    `reread_to`: entries up to this one may have been applied or set aside before, "" if none.

    `begun_at`: since when a drain is trying the entries that follow; None if none does. `tries`: how many times these
    were tried in vain, and `in_doubt` how many they are, at most: one of them makes a batch fail, or kills its worker.
    """

    entry_id: str = BEGINNING
    passed: int = 0
    server: str = ""
    tries: int = 0
    in_doubt: int = 0
    reread_to: str = ""
    begun_at: datetime | None = None


_SHARDS_OWN = f"tenant = '{DEFAULT}' AND shard = :shard"
# A begin that the database has noted before it was started last was ended by that, and says nothing about the entries.
_COLUMNS = """entry_id, passed, server, tries, in_doubt, reread_to,
    CASE WHEN begun_at >= pg_postmaster_start_time() THEN begun_at END"""
_READ = Sql(f"SELECT shard, {_COLUMNS} FROM stream_positions WHERE tenant = '{DEFAULT}'")
_READ_ONE = Sql(f"SELECT {_COLUMNS} FROM stream_positions WHERE {_SHARDS_OWN}")
_LOCK = Sql(f"SELECT {_COLUMNS}, {BY_KEY} FROM stream_positions WHERE {_SHARDS_OWN} FOR UPDATE SKIP LOCKED")
_MAKE = Sql(
    f"""INSERT INTO stream_positions (tenant, shard, entry_id, passed, server, tries, in_doubt, reread_to)
    VALUES ('{DEFAULT}', :shard, '{BEGINNING}', 0, '', 0, 0, '') ON CONFLICT DO NOTHING"""
)
_WRITE = Sql(
    f"""UPDATE stream_positions SET entry_id = :entry_id, passed = :passed, server = :server, tries = :tries,
        in_doubt = :in_doubt, reread_to = :reread_to,
        begun_at = CASE WHEN :is_begun THEN coalesce(:begun_at, clock_timestamp()) END
    WHERE {_SHARDS_OWN}"""
)


def read_positions(session: Session) -> dict[int, Position]:
    """The positions by shard; a shard that no drain has looked at has none."""
    return {row[0]: Position(*row[1:]) for row in _READ.rows(session, {})}


def read_position(session: Session, shard: int) -> Position:
    """The position of one shard, not locked; Position() if no drain has looked at it."""
    rows = _READ_ONE.rows(session, {"shard": shard})
    return Position(*rows[0]) if rows else Position()


def lock_position(session: Session, shard: int) -> Position | None:
    """Lock a shard until the end of the transaction; None if another drain has it.

    From here on the transaction's statements find rows by key, see `plan_by_key`.
    """
    rows = _LOCK.rows(session, {"shard": shard})
    if not rows and not _READ_ONE.rows(session, {"shard": shard}):
        # Two drains that make the row at once wait for each other here; the later one then finds the row locked.
        _MAKE.run(session, {"shard": shard})
        rows = _LOCK.rows(session, {"shard": shard})
    return Position(*rows[0][: len(Position._fields)]) if rows else None


def write_position(session: Session, shard: int, position: Position, *, is_begun: bool) -> None:
    """Write the row of a locked shard. `is_begun`: a drain goes on with the entries that follow.

    If it did before, `begun_at` of the position is kept; it is None after entries were applied.
    """
    _WRITE.run(session, {"shard": shard, "is_begun": is_begun} | position._asdict())


def wait_not_for_disk(session: Session) -> None:
    """Let this transaction commit without waiting for the disk: a crash of the database may undo it."""
    Sql("SET LOCAL synchronous_commit = off").run(session, {})
