"""Reads the OpenAPI text: its operations, its schemas, and what a reference stands for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]
ENDLESS = "/messages/stream"
"""The path whose answer to a GET has no end; that to a HEAD is the same but for that."""


def operations_of(spec: Spec) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each operation with its method and its path."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def followed(spec: Spec, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference stands for, with what is beside the reference; any other as it is."""
    if "$ref" not in schema:
        return schema
    found: Any = spec
    for name in schema["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}


def body_schema(spec: Spec, method: str, path: str) -> dict[str, Any]:
    """The schema of the JSON that an operation takes; empty if it takes none."""
    content = spec["paths"][path][method].get("requestBody", {"content": {}})["content"]
    return followed(spec, content.get("application/json", {"schema": {}})["schema"])


def answer_schema(spec: Spec, method: str, path: str, status: str) -> dict[str, Any]:
    """The schema of an answer's JSON, of one item if it is a list."""
    schema = spec["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    return followed(spec, schema.get("items", schema))


def subschemas(schema: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The schema and all that it has inside, each with its place; references are not followed."""
    if not isinstance(schema, dict):
        return
    yield at, schema
    for name, inner in schema.get("properties", {}).items():
        yield from subschemas(inner, (*at, name))
    for key in ("items", "additionalProperties", "not"):
        yield from subschemas(schema.get(key), (*at, key))
    for key in ("anyOf", "allOf", "oneOf"):
        for number, inner in enumerate(schema.get(key, ())):
            yield from subschemas(inner, (*at, key, str(number)))
