"""Objects as the SDK's classes declare them: every field is there, null where nothing is known.

A hash that depends on a type (``payment_method.card``, ``payment_method_details.sepa_debit``, ``next_action.…``)
carries the branch of its type only, as Stripe's does: code that reads another branch must fail here as it would there.
"""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any, Union

import msgspec
import typing_extensions
from stripe import StripeObject
from stripe._object_classes import get_object_class

from control_plane.sandbox.errors import Json

_LITERALS = (typing.Literal, typing_extensions.Literal)
#: Sent only on what was deleted.
_LEFT_OUT = frozenset({"OBJECT_NAME", "deleted"})
#: Classes whose optional hashes are branches of a type.
_BRANCHED = frozenset(
    {
        "PaymentMethod",
        "Charge.PaymentMethodDetails",
        "PaymentIntent.NextAction",
        "PaymentIntent.PaymentMethodOptions",
        "SetupAttempt.PaymentMethodDetails",
        "SetupIntent.NextAction",
        "SetupIntent.PaymentMethodOptions",
        "Session.PaymentMethodOptions",
        "ConfirmationToken.PaymentMethodPreview",
        "ConfirmationToken.PaymentMethodOptions",
        "Mandate.PaymentMethodDetails",
        "Dispute.PaymentMethodDetails",
        "Refund.DestinationDetails",
        "Reader.Action",
    }
)


def make(kind: str, **fields: object) -> Json:
    """A new object of Stripe's ``object`` name, e.g. ``charge``, with these fields and blanks for the others."""
    return part(get_object_class("V1", kind), **fields)


def part(owner: type[StripeObject], **fields: object) -> Json:
    """A nested hash, e.g. ``part(Charge.Outcome, type="authorized")``."""
    shape: Json = msgspec.json.decode(_template(owner))  # type: ignore[arg-type] # classes can be hashed
    for name in fields:
        if name not in owner.__annotations__ and name[0] != "_":
            raise KeyError(f"{owner.__qualname__} has no {name}")
    shape.update(fields)
    return shape


def accepts_null(annotation: object) -> bool:
    """Whether the SDK's type of a field allows null."""
    return annotation is type(None) or (
        typing.get_origin(annotation) in (Union, types.UnionType)
        and any(accepts_null(one) for one in typing.get_args(annotation))
    )


def is_branch(owner: type[StripeObject], name: str) -> bool:
    """Whether the field is there for one type only, and left out otherwise."""
    return (
        owner.__qualname__ in _BRANCHED
        and name in owner._inner_class_types  # noqa: SLF001 - the SDK's own map of nested classes
        and accepts_null(owner.__annotations__[name])
    )


@cache
def _template(owner: type[StripeObject]) -> bytes:
    return msgspec.json.encode(_blank(owner))


def _blank(owner: type[StripeObject]) -> Json:
    return {
        name: _blank_value(annotation)
        for name, annotation in owner.__annotations__.items()
        if name not in _LEFT_OUT and not is_branch(owner, name)
    }


def _blank_value(annotation: Any) -> object:  # a type of the SDK
    if accepts_null(annotation):
        return None
    origin = typing.get_origin(annotation)
    if origin in _LITERALS:
        values = typing.get_args(annotation)
        return values[0] if len(values) == 1 else None
    if origin is list:
        return []
    if origin is dict or (isinstance(origin, type) and issubclass(origin, StripeObject)):
        return {}
    if isinstance(annotation, type) and issubclass(annotation, StripeObject):
        return _blank(annotation)
    return {bool: False, int: 0}.get(annotation)
