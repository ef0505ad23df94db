"""What the settings of readers are called; English texts, keys of the catalogues. A test has one for each setting."""

from __future__ import annotations

from typing import Final

from control_plane.web.i18n import N_

#: Name and what it is for, by the setting's name in the profiles.
SETTINGS: Final[dict[str, tuple[str, str]]] = {
    "answer_timeout_s": (
        N_("Longest silence, in seconds"),
        N_(
            "How long a terminal that works on a payment may say nothing before its line counts as lost."
        ),
    ),
    "cash_desk": (N_("Number of the cash desk"), N_("As the terminal knows this till.")),
    "cash_register_id": (N_("Id of the cash register"), N_("As the terminal knows this till.")),
    "end_of_day_time": (N_("End of day at"), N_("Local time of the shop.")),
    "flow": (
        N_("Chip cards"),
        N_("emv waits for the bank’s answer with the card in; quick_chip lets it go before."),
    ),
    "lrc_mode": (
        N_("Check character"),
        N_("Which bytes it covers. Try another one when the terminal refuses every message."),
    ),
    "max_amount_minor": (
        N_("Largest payment, in cents"),
        N_(
            "A larger one is refused before the reader is asked. Counted in the smallest unit of the currency."
        ),
    ),
    "password": (
        N_("Password of the terminal"),
        N_("It is sent sealed to the box of the reader and never shown again."),
    ),
    "result_timeout_s": (
        N_("Longest wait for a result, in seconds"),
        N_("Then the payment counts as unknown, and the terminal is asked what became of it."),
    ),
    "terminal_id": (N_("Id of the terminal"), N_("It stands on the terminal’s receipts.")),
    "transaction_timeout_s": (
        N_("Wait for a card, in seconds"),
        N_("Then the reader stops and the payment is cancelled."),
    ),
}
