"""Concert *E* and *E+*, the protocol between tills and payment terminals of France (Ingenico's "caisse" link).

``frames`` what travels on the line; ``messages`` the one request and its answer; ``machine`` the till's side of a
conversation; ``peer`` the simulated terminal; ``decode`` a message as JSON for people.

Source: two open implementations, pyTeliumManager (MIT) and pypostelium (facts only). The specification is not public.

A long answer can hold a whole card number. It is never asked for, and dropped while bytes are decoded if it comes.
"""

from __future__ import annotations
