"""ECR17 (*Protocollo 17*), the protocol between tills and payment terminals of Italy.

``frames`` how messages travel; ``messages`` every request and response, position by position; ``codes`` numbers and
their meaning; ``machine`` the till's side of a conversation; ``peer`` the simulated terminal; ``decode`` a message as
JSON for people.

Source: Nexi's developer portal ("derived from the Italian standard ECR17") and three MIT implementations of padosoft.

Card numbers are masked while bytes are decoded: no value made here holds a clear one.
"""

from __future__ import annotations
