"""The part of the OpenAPI text about the messages that Milepost sends to endpoints: its `webhooks`."""

from typing import Any

from pydantic import TypeAdapter

from api.schemas.catalogue import CATALOGUE, CatalogueEntry

_SCHEMAS = "#/components/schemas/"
_HEADERS = {
    "webhook-id": (
        "The message's id: the same for the same happening, however often it is sent",
        "milestone_reached:goal_019c0f6e9a7e4b1d8c52:250000:1",
    ),
    "webhook-timestamp": ("When it was sent, in seconds since 1970; refuse one that is minutes old", "1773133200"),
    "webhook-signature": (
        "Signatures of `{webhook-id}.{webhook-timestamp}.{body}`, separated by spaces: each is `v1,` and the base64 of"
        " HMAC-SHA256 with the endpoint's secret. One that you verify is enough",
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    ),
}
_ANSWERS = {
    "2XX": {"description": "The message was taken"},
    "410": {"description": "The endpoint is gone: it is disabled, and nothing is sent to it any more"},
    "default": {"description": "The message was not taken, and is sent again later"},
}


def webhooks() -> dict[str, Any]:
    """An entry for each type of message, by its name."""
    return {str(type): {"post": _operation(entry)} for type, entry in CATALOGUE.items()}


def schemas_of_messages() -> dict[str, Any]:
    """The schemas of all bodies by their names, and of what these have inside."""
    adapters = [(name, "serialization", TypeAdapter(entry.body)) for name, entry in CATALOGUE.items()]
    _, text = TypeAdapter.json_schemas(adapters, ref_template=_SCHEMAS + "{model}")  # type: ignore[arg-type]
    found: dict[str, Any] = text["$defs"]
    return found


def _operation(entry: CatalogueEntry) -> dict[str, Any]:
    schema = {"$ref": _SCHEMAS + entry.body.__name__}
    return {
        "tags": ["messages"],
        "summary": entry.summary,
        "description": f"Follows from: {entry.follows_from}",
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": description,
                "schema": {"type": "string"},
                "example": example,
            }
            for name, (description, example) in _HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": entry.example}},
        },
        "responses": _ANSWERS,
    }
