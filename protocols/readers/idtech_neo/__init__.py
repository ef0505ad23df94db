"""ID TECH's NEO 2 protocol ("ViVOtech2"), spoken by the readers of the VP and Kiosk families.

``frames`` how messages are framed and cut into reports; ``codes`` commands, statuses and errors; ``sealed`` the
answer that holds a card: what of it may be known, what passes on unopened; ``machine`` the host's side; ``decode`` a
message as JSON for people. The simulated reader is ``peer`` with its stories in ``scripts``; ``tap`` seals and opens
card data and is for simulated readers and the sandbox's acquirer only.

Source: NEO 2 Interface Developer's Guide (2019) and manuals of single models, as far as they are public, and open code.
What no source shows is marked *unverified* where it is used.
"""

from __future__ import annotations
