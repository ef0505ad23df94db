"""MagTek MMS, the protocol of MagTek's "Dyna" card readers (DynaFlex, DynaFlex II GO, DynaProx…).

``codes`` numbers and their meaning; ``message`` the message layer; ``links`` how messages travel over USB HID, BLE and
UART; ``sealed`` what may be known of a card that the reader sealed; ``machine`` the till's side of a conversation;
``decode`` a message as JSON for people. The simulated reader is ``peer``, with its stories and faults in ``scripts``;
``tap`` seals and opens card data with test keys, and is never used on the till's side.

The reader authorises nothing: it hands out card data sealed by DUKPT, and waits for the issuer's answer.

Source: MagTek's master programmer's manual D100005000 and its own open JavaScript. What neither of them shows on a wire
is called *unverified* where it is used.
"""

from __future__ import annotations
