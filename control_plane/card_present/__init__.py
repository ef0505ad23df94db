"""Cards on encrypting readers: sealed data in, an issuer's answer out, and money that never stays where it should not.

``processor.py`` is the port, ``service.py`` answers devices, ``clearing.py`` captures and takes back by the clock,
``refunds.py`` gives back, ``accounts.py`` keeps the account. What a reader says of a sale decides the session and the
ledger; what was approved here and is not approved there is taken back.
"""

from __future__ import annotations
