"""What the till does not allow."""

from __future__ import annotations

from control_plane.errors import Conflict, Forbidden, RequestRefused


class LimitReached(Forbidden):
    """Above what this member, or anybody here, may do. Nothing was charged."""

    code = "limit_reached"


class AboveYourCharge(LimitReached):
    """More at once than this member may charge."""

    code = "above_your_charge_limit"
    message = "You may charge up to {limit} at once. Ask somebody who may charge more."


class AboveYourDay(LimitReached):
    """More in a day than this member may charge."""

    code = "above_your_day_limit"
    message = (
        "You may charge {limit} a day, and {left} is left today. Ask somebody who may charge more."
    )


class AboveYourRefund(LimitReached):
    """More than this member may give back on a reader, where nobody can approve it."""

    code = "above_your_refund_limit"
    message = "You may give back up to {limit} on a reader. Ask somebody who may give back more."


class AboveTheShops(LimitReached):
    """More at once than anybody here may charge."""

    code = "above_the_shops_limit"
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


class NotTaken(RequestRefused):
    """A value of a setting that cannot be. ``field`` names it."""

    code = "till_value_refused"


class NameMissing(NotTaken):
    """Everything in the till has a name."""

    code = "till_name_missing"
    message = "Write a name."


class KeyForm(NotTaken):
    """Keys of fields stand in addresses and exports."""

    code = "till_key_form"
    message = "Write the key in small letters, digits and underscores, like order_number."


class ChoicesMissing(NotTaken):
    """A list to choose from is empty."""

    code = "till_choices_missing"
    message = "Write at least two choices, one a line."


class PercentRange(NotTaken):
    """A percentage out of its range."""

    code = "till_percent_range"
    message = "Write a percentage from {least} to {most}, like {example}."


class TooManyTips(NotTaken):
    """More tips than a page has room for."""

    code = "till_too_many_tips"
    message = "Write up to {most} tips."


class AmountMissing(NotTaken):
    """An amount that is none."""

    code = "till_amount_missing"
    message = "Write an amount above zero, like 12.34."


class CurrencyUnknown(NotTaken):
    """A currency that nothing here can count in."""

    code = "till_currency_unknown"
    message = "Choose a currency from the list."


class QuickKeyRange(NotTaken):
    """A quick key that is not there."""

    code = "till_quick_key_range"
    message = "Choose a quick key from 1 to {most}."


class TaxGone(NotTaken):
    """A rate that is not the merchant's, or no longer."""

    code = "till_tax_gone"
    message = "Choose a tax rate from the list."


class MinutesRange(NotTaken):
    """A length of time out of its range."""

    code = "till_minutes_range"
    message = "Write a whole number from {least} to {most}."


class MethodsMissing(NotTaken):
    """Nobody can work with no method at all."""

    code = "till_methods_missing"
    message = "Leave at least one way to take money."


class UnreadableFile(NotTaken):
    """A file that is no table of items."""

    code = "till_unreadable_file"
    message = "This file is no CSV table with a first line of column names. Export the items to see how it looks."
