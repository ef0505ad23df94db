"""What the till does not allow."""

from __future__ import annotations

from control_plane.errors import Conflict, Forbidden


class LimitReached(Forbidden):
    """Above what this member, or anybody here, may do. Nothing was charged."""

    code = "limit_reached"


class AboveYourCharge(LimitReached):
    """More at once than this member may charge."""

    message = "You may charge up to {limit} at once. Ask somebody who may charge more."


class AboveYourDay(LimitReached):
    """More in a day than this member may charge."""

    message = (
        "You may charge {limit} a day, and {left} is left today. Ask somebody who may charge more."
    )


class AboveTheShops(LimitReached):
    """More at once than anybody here may charge."""

    message = (
        "At most {limit} is charged at once here. Split the sale, or ask an owner to raise it."
    )


class MethodNotYours(LimitReached):
    """A way of paying that this member may not use."""

    code = "method_not_allowed"
    message = "You may not take money this way. Choose another, or ask somebody who may."


class CurrencyNotOffered(LimitReached):
    """A currency that this till does not take."""

    code = "currency_not_offered"
    message = (
        "This till does not take {currency}. Choose another currency, or add it under Settings."
    )


class OwnLimits(Forbidden):
    """Nobody sets their own limits."""

    code = "own_limits"
    message = "You cannot change your own limits. Ask somebody else who manages the team."


class KeyTaken(Conflict):
    """A field's key, or an item's code, is used already."""

    code = "key_taken"
    message = "{name} is used already. Choose another."
