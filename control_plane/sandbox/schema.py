"""What an endpoint takes, read from the SDK's own ``stripe.params``: strict at any depth.

A value is accepted as Stripe does it: text becomes what the parameter's type says, an empty text unsets a
parameter that can be unset (the handler sees None), and anything else is refused with the parameter's full name.
"""

from __future__ import annotations

import difflib
import sys
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, ForwardRef, Literal, NotRequired, Required, Union

import typing_extensions
from stripe import RequestOptions, StripeObject

from control_plane.sandbox.errors import (
    Json,
    MalformedRequest,
    missing_parameter,
    unknown_parameter,
)
from control_plane.sandbox.forms import Form, as_list

#: Turns one form value into the typed one; the second argument is its full name.
Reader = Callable[[Form, str], object]

_OF_THE_CALL = frozenset(RequestOptions.__annotations__)
_WRAPPERS = (NotRequired, Required, typing_extensions.NotRequired, typing_extensions.Required)
_LITERALS = (Literal, typing_extensions.Literal)
_MOST_METADATA = 50


def reader_of(params: type | None) -> Reader:
    """A reader of the parameters that a ``stripe.params`` class declares; None takes nothing but ``expand``."""
    return _object(params) if params is not None else _read_only_expand


def described(annotation: object) -> Reader:
    """A reader of one value, for a parameter that the SDK does not declare."""
    return _reader(annotation, sys.modules[__name__])


def parameter_names(params: type) -> dict[str, bool]:
    """Names that the class takes, with whether each is required."""
    required: frozenset[str] = params.__required_keys__  # type: ignore[attr-defined] # a TypedDict
    return {name: name in required for name in params.__annotations__ if name not in _OF_THE_CALL}


@cache
def _object(params: type) -> Reader:
    required = parameter_names(params)
    module = sys.modules[params.__module__]
    readers: dict[str, Reader] = {}

    def read(value: Form, name: str) -> object:
        if isinstance(value, str):
            raise MalformedRequest("Invalid object", param=name)
        taken: Json = {}
        for key, inner in value.items():
            full = f"{name}[{key}]" if name else key
            if key not in required:
                raise unknown_parameter(full, known=difflib.get_close_matches(key, required, 1))
            reader = readers.get(key)
            if reader is None:
                reader = readers[key] = _reader(params.__annotations__[key], module)
            taken[key] = reader(inner, full)
        for key, is_required in required.items():
            if is_required and key not in taken:
                raise missing_parameter(f"{name}[{key}]" if name else key)
        return taken

    return read


def _reader(annotation: object, module: types.ModuleType) -> Reader:
    alternatives = _flat(annotation, module)
    choices = [value for one in alternatives if _is_literal(one) for value in typing.get_args(one)]
    can_unset = "" in choices
    words = tuple(str(value) for value in choices if value != "")
    rest = [one for one in alternatives if not _is_literal(one)]
    structured = [one for one in rest if _structure(one, module) is not None]
    scalars = [one for one in rest if one not in structured]
    read_structure = _structure(structured[0], module) if structured else None
    # Where literals stand beside a plain text, the SDK leaves room for later ones; today's server takes these.
    typed = [one for one in scalars if one is not str] if words else scalars
    read_scalar = _one_of(words, _scalar(typed)) if words else _scalar(typed)

    def read(value: Form, name: str) -> object:
        if value == "":
            if can_unset:
                return None
            raise MalformedRequest(
                f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a "
                f"parameter; however '{name}' cannot be unset. You should remove '{name}' from your request or "
                "supply a non-empty value.",
                code="parameter_invalid_empty",
                param=name,
            )
        if read_structure is not None and (not isinstance(value, str) or read_scalar is None):
            return read_structure(value, name)
        if read_scalar is None or not isinstance(value, str):
            raise MalformedRequest(f"Invalid string: {value}", param=name)
        return read_scalar(value, name)

    return read


def _flat(annotation: object, module: types.ModuleType) -> list[object]:
    """The alternatives of a type, with quoted names looked up where they were written."""
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        # The text is an annotation of the installed SDK, not of a request.
        return _flat(eval(annotation, vars(module)), module)  # noqa: S307
    origin = typing.get_origin(annotation)
    if origin in _WRAPPERS:
        return _flat(typing.get_args(annotation)[0], module)
    if origin in (Union, types.UnionType):
        return [one for part in typing.get_args(annotation) for one in _flat(part, module)]
    return [annotation]


def _is_literal(annotation: object) -> bool:
    return typing.get_origin(annotation) in _LITERALS


def _structure(annotation: Any, module: types.ModuleType) -> Reader | None:
    """A reader of a list, a map or a nested object; None for a scalar. (Any: a type of the SDK.)"""
    origin = typing.get_origin(annotation)
    if origin is list:
        return _list(_reader(typing.get_args(annotation)[0], module))
    if origin is dict:
        return _map(_reader(typing.get_args(annotation)[1], module))
    if typing.is_typeddict(annotation) or typing_extensions.is_typeddict(annotation):
        return _object(annotation)
    if isinstance(origin, type) and issubclass(origin, StripeObject):
        return _map(_reader(typing.get_args(annotation)[0], module))
    return None


def _list(read_member: Reader) -> Reader:
    def read(value: Form, name: str) -> object:
        members = as_list(value)
        if members is None:
            raise MalformedRequest("Invalid array", param=name)
        return [read_member(one, f"{name}[{at}]") for at, one in enumerate(members)]

    return read


def _map(read_value: Reader) -> Reader:
    def read(value: Form, name: str) -> object:
        if isinstance(value, str):
            raise MalformedRequest("Invalid object", param=name)
        if len(value) > _MOST_METADATA:
            raise MalformedRequest(f"Metadata can have at most {_MOST_METADATA} keys.", param=name)
        taken = {}
        for key, inner in value.items():
            if len(key) > 40:
                raise MalformedRequest(
                    f"Metadata keys can have up to 40 characters: {key}", param=f"{name}[{key}]"
                )
            if isinstance(inner, str) and len(inner) > 500:
                raise MalformedRequest(
                    "Metadata values can have up to 500 characters, but you passed in a value that is "
                    f"{len(inner)} characters.",
                    param=f"{name}[{key}]",
                )
            taken[key] = None if inner == "" else read_value(inner, f"{name}[{key}]")
        return taken

    return read


def _one_of(
    words: tuple[str, ...], other: Callable[[str, str], object] | None
) -> Callable[[str, str], object]:
    *most, last = words
    sentence = f"{', '.join(most)}, or {last}" if most else last

    def read(value: str, name: str) -> object:
        if value in words:
            return value
        if other is not None:
            return other(value, name)
        raise MalformedRequest(f"Invalid {name}: must be one of {sentence}", param=name)

    return read


def _scalar(annotations: list[object]) -> Callable[[str, str], object] | None:
    if int in annotations:
        return _integer
    if bool in annotations:
        return _boolean
    if float in annotations or Decimal in annotations:
        return _decimal
    return _text if str in annotations else None


def _integer(value: str, name: str) -> object:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise MalformedRequest(
            f"Invalid integer: {value}", code="parameter_invalid_integer", param=name
        )
    return int(value)


def _boolean(value: str, name: str) -> object:
    if value not in ("true", "false"):
        raise MalformedRequest(f"Invalid boolean: {value}", param=name)
    return value == "true"


def _decimal(value: str, name: str) -> object:
    try:
        return float(Decimal(value))
    except InvalidOperation:
        raise MalformedRequest(f"Invalid decimal: {value}", param=name) from None


def _text(value: str, name: str) -> object:
    del name
    return value


_read_list_of_text = _list(lambda value, name: _text(str(value), name))


def _read_only_expand(value: Form, name: str) -> object:
    assert isinstance(value, dict)  # noqa: S101 - the whole form
    for key in value:
        if key != "expand":
            raise unknown_parameter(f"{name}[{key}]" if name else key)
    return {key: _read_list_of_text(inner, key) for key, inner in value.items()}


def gated(form: Mapping[str, Form], path: str) -> bool:
    """Whether the form names a parameter like ``payment_method_options[card][moto]``."""
    here: Form = dict(form)
    for part in path.replace("]", "").split("["):
        if isinstance(here, str) or part not in here:
            return False
        here = here[part]
    return True
