"""ZVT, the protocol between tills and payment terminals of Germany, Austria and Switzerland.

``codes`` numbers and their meaning; ``bitmaps`` and ``tlv`` what messages are made of; ``apdu`` and ``serial_link`` how
they travel (TCP: ``link``); ``messages`` every message of both sides; ``machine`` the till's side of a conversation;
``decode`` a message as JSON for people. The simulated terminal is ``peer``, with its stories and faults in ``scripts``,
its memory in ``store``, its conversations in ``sequences`` and its paper in ``receipts``.

Source: ZVT transport 04 (2016) and ZVT 13.08 (2018), and what open implementations learned in the field.

Card numbers and tracks are masked while bytes are decoded: no value made here holds a clear one.
"""

from __future__ import annotations
