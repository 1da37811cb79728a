"""The OpenAPI text of our own app: FastAPI's, with a plain name for every schema, and with what holds everywhere.

FastAPI makes the schemas of answers. It does not know those of request bodies, since we read bodies ourselves, so these
are made here, and those of messages, which no route takes. In another app the text is that app's: there bodies are
described in place, and schemas have the names of their classes, which the app's own will not have.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import WithDefaultSchema

from api.auth import SECURITY_SCHEMES
from api.bodies import Body
from api.openapi_messages import schemas_of_messages, webhooks
from api.schemas.events import Event, EventBatch
from api.schemas.values import Delivery
from core.providers.registry import Provider

SCHEMAS = "#/components/schemas/"
_OTHER_BODIES: TypeAdapter[Any] = TypeAdapter(Event | EventBatch | Delivery)
_REQUEST_ID = "X-Request-Id"
_REQUEST_ID_HEADER = {
    "description": "Names the request in the logs: your own (letters, digits, `.`, `_`, `-`, at most 64) or a new one",
    "schema": {"type": "string"},
}
_ENCODED = "encode it, including each `/`"
_OF_PATHS = {
    "goal_id": "The `id` of the goal",
    "milestone_id": "The `id` of the milestone",
    "account_id": f"Your own id for the account; {_ENCODED}",
    "provider": f"The provider's name: {', '.join(Provider)}",
    "provider_account_id": f"The provider's id for the account; {_ENCODED}",
    "endpoint_id": "The id in the address that `milepost webhooks add` gave",
    "request_id": "The `id` of the refresh request",
    "shard": "The `shard` of the dead letter",
    "entry_id": "The `entry_id` of the dead letter",
}
# What is in these is a value, and no schema.
_VALUES = frozenset({"const", "default", "enum", "example", "examples"})


class _WithoutDefaults(GenerateJsonSchema):
    """Leaves out what a field is unless it is given, which its description says.

    Generated clients would send a default, or, as openapi-typescript, take the field for one that is needed.
    """

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def complete(text: dict[str, Any]) -> dict[str, Any]:
    """The whole text, from the one that FastAPI makes."""
    paths, components = text["paths"], text["components"]
    schemas = components["schemas"] | _schemas_of_bodies(paths) | schemas_of_messages()
    names = {SCHEMAS + key: SCHEMAS + schema.get("title", key) for key, schema in schemas.items()}
    named: dict[str, Any] = {}
    for key, schema in schemas.items():
        tidied = _tidied(schema, names)
        if named.setdefault(names[SCHEMAS + key].removeprefix(SCHEMAS), tidied) != tidied:
            raise RuntimeError(f"two schemas are called {schema['title']}")
    paths = _tidied(paths, names)
    for operation in _operations(paths):
        for parameter in operation.get("parameters", ()):
            _complete_parameter(parameter)
        for answer in operation["responses"].values():
            content = answer.get("content", {})
            for media_type in [each for each in content if len(content) > 1 and not content[each]["schema"]]:
                del content[media_type]  # FastAPI adds one where a route describes another
            answer.setdefault("headers", {})[_REQUEST_ID] = {"$ref": f"#/components/headers/{_REQUEST_ID}"}
    components = {
        "schemas": dict(sorted(named.items())),
        "headers": {_REQUEST_ID: _REQUEST_ID_HEADER},
        "securitySchemes": SECURITY_SCHEMES,
    }
    return {**text, "paths": paths, "webhooks": _tidied(webhooks(), names), "components": components}


def _operations(paths: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in paths.values():
        yield from methods.values()


def _schemas_of_bodies(paths: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas of all request bodies by their keys; puts references in the place of those that are described there.

    A body that a route describes is one of our models if it has the title of one.
    """
    models = {model.model_json_schema()["title"]: model for model in Body.__subclasses__()}
    used: dict[str, type[Body]] = {}
    for operation in _operations(paths):
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            title = content["schema"].get("title")
            if title in models:
                used[title] = models[title]
                content["schema"] = {"$ref": SCHEMAS + models[title].__name__}
    _, of_models = models_json_schema(
        [(model, "validation") for model in used.values()],
        ref_template=SCHEMAS + "{model}",
        schema_generator=_WithoutDefaults,
    )
    others = _OTHER_BODIES.json_schema(ref_template=SCHEMAS + "{model}")
    schemas: dict[str, Any] = of_models["$defs"] | others["$defs"]
    return schemas


def _tidied(node: Any, names: Mapping[str, str]) -> Any:
    """The text with other names of schemas, and without titles, which only repeat names."""
    if isinstance(node, str):
        return names.get(node, node)
    if isinstance(node, list):
        return [_tidied(each, names) for each in node]
    if not isinstance(node, dict):
        return node
    tidied = {
        key: value if key in _VALUES else _tidied(value, names)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
    }
    return _without_inner_choice(tidied) if isinstance(tidied.get("anyOf"), list) else tidied


def _without_inner_choice(schema: dict[str, Any]) -> dict[str, Any]:
    """A choice of a choice is one choice."""
    choices: list[Any] = []
    about: dict[str, Any] = {}
    for choice in schema["anyOf"]:
        choices += choice.get("anyOf", [choice])
        about |= {key: value for key, value in choice.items() if key != "anyOf"} if "anyOf" in choice else {}
    return {**about, **schema, "anyOf": choices}


def _complete_parameter(parameter: dict[str, Any]) -> None:
    """Describe a parameter of a path; and say of one that may be left out only that, since it cannot be null."""
    if parameter["in"] == "path" and parameter["name"] in _OF_PATHS:
        parameter["description"] = _OF_PATHS[parameter["name"]]
    schema = parameter["schema"]
    schema.pop("description", None)
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        del schema["anyOf"]
        schema.update(choices[0])
