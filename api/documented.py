"""What the OpenAPI text says of answers: the body of the good one, and the refusals that can come instead."""

from __future__ import annotations

from typing import Any

from api.errors import Problem, Refusal

_REFUSALS: dict[int, tuple[Any, str]] = {
    400: (Problem, "The shares of the goal's accounts would sum to more than 100%"),
    401: (Problem, "No key, or one that is unknown or revoked"),
    403: (Problem, "The key lacks the scope"),
    404: (Problem, "Not there, or not yours"),
    409: (Problem, "Does not go with the present state of the goal"),
    413: (Problem, "The body is too large"),
    422: (Refusal, "Does not parse or cannot be; every problem names its field"),
    503: (Problem, "The database or the stream is away or full; nothing was changed"),
}


def answers(status: int, model: Any, meaning: str, *refusals: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: 401, 403 and 503 can always come, `refusals` are the others."""
    good: dict[str, Any] = {"description": meaning} if model is None else {"description": meaning, "model": model}
    found: dict[int | str, dict[str, Any]] = {status: good}
    for code in sorted({401, 403, 503, *refusals}):
        model_of_refusal, text = _REFUSALS[code]
        found[code] = {"model": model_of_refusal, "description": text}
    return found
