"""ZVT, the protocol between tills and payment terminals of Germany, Austria and Switzerland.

``codes`` numbers and their meaning; ``bitmaps`` and ``tlv`` what messages are made of; ``apdu`` and ``serial_link`` how
they travel; ``messages`` every message of both sides; ``machine`` the host's side of a conversation, ``peer`` the
terminal's; ``decode`` a message as JSON for people. Source: ZVT transport 04 (2016) and ZVT 13.08 (2018).

Card numbers and tracks are masked while bytes are decoded: no value made here holds a clear one.
"""

from __future__ import annotations
