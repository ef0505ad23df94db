"""What a model looks like and can do, for people; English texts, keys of the catalogues."""

from __future__ import annotations

from typing import Final

from control_plane.web.i18n import N_

#: As in the profile's `looks`; a test keeps them the same.
LOOKS: Final[dict[str, str]] = {
    "bbpos-chipper2x": N_(
        "A small square reader without a screen; an app drives it over Bluetooth."
    ),
    "bbpos-wisepad3": N_("A small PIN pad with keys; an app drives it over Bluetooth."),
    "bbpos-wisepos-e": N_(
        "An Android handheld with one touch screen over the whole front and a charging dock."
    ),
    "stripe-m2": N_("A small reader without a screen; an app drives it over Bluetooth."),
    "stripe-s700": N_(
        "An Android handheld with one large touch screen; a card is inserted below, swiped at the side, tapped on top."
    ),
    "stripe-s710": N_("Looks like the S700, with a mobile data connection of its own."),
    "stripe-t600": N_("A terminal for the counter with a touch screen."),
    "stripe-tap-to-pay": N_("A phone; an app of the shop on it takes contactless cards."),
    "verifone-m425": N_("A wide terminal for the counter with a touch screen, on a cable."),
    "verifone-p400": N_("A PIN pad with keys and a small color screen, on a cable."),
    "verifone-p630": N_("A PIN pad with a touch screen, on a cable."),
    "verifone-ux700": N_("A terminal to build into a machine, without a cashier."),
    "verifone-v660p": N_("A handheld with a touch screen and a receipt printer."),
}
READS: Final[dict[str, str]] = {
    "chip": N_("chip"),
    "contactless": N_("contactless"),
    "swipe": N_("magnetic stripe"),
}
#: What is worth telling of a reader, by the capability in its profile.
CAN: Final[dict[str, str]] = {
    "moto": N_("takes typed cards"),
    "tips": N_("asks for a tip"),
    "cart": N_("shows the cart"),
    "customer_input": N_("asks the customer questions"),
    "save_card": N_("saves cards"),
    "refund": N_("refunds to the card"),
}
