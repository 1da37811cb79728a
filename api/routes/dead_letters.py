"""The routes of dead letters: the events that could not take effect, and what to do about them."""

import re
from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import Field, with_config
from starlette.responses import Response
from typing_extensions import TypedDict

from api.bodies import RawBody, document_body, parse_body
from api.context import Contexts, RequestContext
from api.cursors import Cursor, Limit, Listing
from api.idempotency import REPLAYED, Idempotency
from api.routing import Routes, path_of
from api.schemas.accounts import LetterBody, WholeLetterBody, letter_body, whole_letter_body
from api.schemas.documented import answers
from api.schemas.given import QueryMoment
from api.schemas.rendering import ExactResponse, Moment, moment
from api.schemas.requests import DiscardReason
from core.errors import NotFound
from core.services import dead_letters
from core.services.keys import Scope
from core.services.pages import PAGE
from core.store.dead_letters import DeadLetterKey
from core.stream.stream import SHARDS_MOST

router = Routes(tags=["dead letters"])

REPLAYED_AT_ONCE = 1_000
_SHARD = re.compile(r"\d{1,4}", re.ASCII)

State = Annotated[
    Literal["waiting", "replayed", "discarded"] | None, Query(description="Only dead letters in this state")
]
Code = Annotated[str, Query(description="The code of the dead letters")]
Again = Annotated[bool, Query(description="Replay it even if it was replayed or discarded before")]
Until = Annotated[
    QueryMoment | None,
    Query(
        description="Only dead letters recorded up to this moment: give `until` of the previous answer, to reach an end"
    ),
]
Most = Annotated[
    int, Query(ge=1, le=REPLAYED_AT_ONCE, alias="limit", description="The most dead letters to replay now")
]


@with_config(title="ReplayedDeadLetters")
class ReplayedBody(TypedDict):
    """How many dead letters went onto the stream, and how many recorded up to `until` still wait."""

    replayed: Annotated[int, Field(description="how many went onto the stream now")]
    left: Annotated[int, Field(description="how many recorded up to `until` still wait")]
    until: Annotated[
        Moment | None, Field(description="give it with the next request, to reach an end; null if there was none")
    ]


@router.get(
    "",
    summary="List dead letters",
    operation_id="listDeadLetters",
    responses=answers(
        200,
        list[LetterBody],
        "One page, the latest recorded first; the next is in the `Link` header",
        422,
        headers=("Link",),
    ),
)
def list_page(
    request: Request,
    contexts: Contexts,
    code: Annotated[str | None, Query(description="Only dead letters with this code")] = None,
    state: State = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """List what could not take effect and why, without the events themselves."""
    with contexts.open(Scope.EVENTS_READ) as context:
        listing = Listing(context.tenant.name, ("dead-letters",), {"code": code, "state": state})
        page = dead_letters.list_dead_letters(
            context.session, context.tenant.name, code=code, state=state, limit=limit, cursor=listing.position(cursor)
        )
        letters = [letter_body(dead_letter) for dead_letter in page.items]
    return ExactResponse(letters, headers=listing.link(path_of(request), limit, page.next_cursor))


@router.get(
    "/{shard}/{entry_id}",
    summary="Get a dead letter",
    operation_id="getDeadLetter",
    responses=answers(200, WholeLetterBody, "The dead letter with its event", 404),
)
def show(shard: str, entry_id: str, contexts: Contexts) -> Response:
    """Get one dead letter with its event, as the event came."""
    with contexts.open(Scope.EVENTS_READ) as context:
        return ExactResponse(
            whole_letter_body(*dead_letters.show_dead_letter(context.session, _key(context, shard, entry_id)))
        )


@router.post(
    "/replay",
    summary="Replay all of a code",
    operation_id="replayDeadLetters",
    responses=answers(200, ReplayedBody, "They are on the stream again", 409, 422, 501, headers=(REPLAYED,)),
)
def replay_all(
    request: Request, contexts: Contexts, idempotency: Idempotency, code: Code, until: Until = None, most: Most = PAGE
) -> Response:
    """Put the oldest waiting dead letters with a code onto the stream again; what fails again is a new dead letter."""
    with contexts.open(Scope.EVENTS_WRITE) as context:

        def perform() -> Response:
            found = dead_letters.find_replayable(context.session, context.tenant.name, code, until=until)
            replayed, left = dead_letters.replay_oldest(
                context.session, context.backends.stream, found, context.now, actor=context.actor, most=most
            )
            body: ReplayedBody = {"replayed": replayed, "left": left, "until": moment(found.until)}
            return ExactResponse(body)

        return idempotency.answer(context, _query_bytes(request), perform)


@router.post(
    "/{shard}/{entry_id}/replay",
    summary="Replay a dead letter",
    operation_id="replayDeadLetter",
    responses=answers(200, LetterBody, "It is on the stream again", 404, 409, 422, 501, headers=(REPLAYED,)),
)
def replay(
    request: Request, shard: str, entry_id: str, contexts: Contexts, idempotency: Idempotency, again: Again = False
) -> Response:
    """Put the event of a dead letter onto the stream again, as it came; it arrives now."""
    with contexts.open(Scope.EVENTS_WRITE) as context:

        def perform() -> Response:
            key, stream = _key(context, shard, entry_id), context.backends.stream
            dead_letters.replay_dead_letter(context.session, stream, key, context.now, actor=context.actor, again=again)
            return _answer(context, key)

        return idempotency.answer(context, _query_bytes(request), perform)


@router.post(
    "/{shard}/{entry_id}/discard",
    summary="Discard a dead letter",
    operation_id="discardDeadLetter",
    openapi_extra=document_body(DiscardReason),
    responses=answers(200, LetterBody, "It is given up, and kept for 90 days", 404, 409, 413, 422, headers=(REPLAYED,)),
)
def discard(shard: str, entry_id: str, contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Give a dead letter up, saying why."""
    with contexts.open(Scope.EVENTS_WRITE) as context:

        def perform() -> Response:
            key, reason = _key(context, shard, entry_id), parse_body(DiscardReason, raw).reason
            dead_letters.discard_dead_letter(context.session, key, reason, context.now, actor=context.actor)
            return _answer(context, key)

        return idempotency.answer(context, raw, perform)


def _key(context: RequestContext, shard: str, entry_id: str) -> DeadLetterKey:
    """The key of the dead letter that a path names, in the caller's tenant; raises NotFound if there can be none."""
    number = int(shard) if _SHARD.fullmatch(shard) else SHARDS_MOST
    if number >= SHARDS_MOST:
        raise NotFound("Dead letter", entry_id)
    return DeadLetterKey(context.tenant.name, number, entry_id)


def _answer(context: RequestContext, key: DeadLetterKey) -> Response:
    return ExactResponse(letter_body(dead_letters.read_dead_letter(context.session, key)))


def _query_bytes(request: Request) -> bytes:
    """What a request without a body asks for: its query string, byte by byte."""
    query: bytes = request.scope["query_string"]
    return query
