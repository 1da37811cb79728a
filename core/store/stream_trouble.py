"""What the stream server's own errors mean to callers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from core.errors import StreamUnavailable


@contextmanager
def refusing_calmly() -> Iterator[None]:
    """Turn every error of the server within the block into StreamUnavailable, which says what is wrong."""
    try:
        yield
    except RedisConnectionError as error:
        raise StreamUnavailable("the stream server does not answer") from error
    except OutOfMemoryError as error:
        raise StreamUnavailable("the stream is full") from error
    except ResponseError as error:
        raise StreamUnavailable(f"the stream server refused: {error}") from error
    except RedisError as error:
        raise StreamUnavailable("the stream server did not answer in time") from error
