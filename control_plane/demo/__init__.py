"""A whole shop on one machine: control plane, broker, an agent and terminals that are not there.

``stage.py`` runs it, ``check.py`` proves that it works. Agent and terminals are child *commands*: nothing of ``agent``
is imported here.
"""

from __future__ import annotations
