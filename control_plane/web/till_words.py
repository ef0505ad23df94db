"""Words of the till's settings: English texts, keys of the catalogues."""

from __future__ import annotations

from typing import Final

from control_plane.till.values import Channel, CheckPolicy, Colour, FieldKind, TaxMode
from control_plane.web.i18n import N_

CHANNELS: Final[dict[Channel, str]] = {
    Channel.READER: N_("Reader"),
    Channel.KEYED: N_("Keyed card"),
    Channel.SAVED: N_("Saved card"),
    Channel.BANK_DEBIT: N_("Bank debit"),
    Channel.LINK: N_("Payment link"),
}
FIELD_KINDS: Final[dict[FieldKind, str]] = {
    FieldKind.TEXT: N_("Text"),
    FieldKind.NUMBER: N_("Number"),
    FieldKind.DATE: N_("Date"),
    FieldKind.CHOICE: N_("List to choose from"),
    FieldKind.POSTAL_CODE: N_("Postal code"),
    FieldKind.EMAIL: N_("E-mail"),
    FieldKind.ORDER_NUMBER: N_("Order number"),
}
TAX_MODES: Final[dict[TaxMode, str]] = {
    TaxMode.INCLUSIVE: N_("Prices contain it"),
    TaxMode.ADDED: N_("Added on top of prices"),
}
POLICIES: Final[dict[CheckPolicy, str]] = {
    CheckPolicy.ACCEPT: N_("Take the payment"),
    CheckPolicy.ASK: N_("Hold it and ask the cashier"),
    CheckPolicy.BLOCK: N_("Do not take it"),
}
COLOURS: Final[dict[Colour, str]] = {
    Colour.PLAIN: N_("Plain"),
    Colour.BLUE: N_("Blue"),
    Colour.GREEN: N_("Green"),
    Colour.YELLOW: N_("Yellow"),
    Colour.PINK: N_("Pink"),
    Colour.GREY: N_("Grey"),
}
