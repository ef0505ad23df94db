"""An acquirer to test with: CyberSource's REST dialect, cards sealed with published test keys, books of its own.

It knows ``protocols`` and nothing else of ours. It never keeps a card number: only its mask and a keyed fingerprint.
"""

from __future__ import annotations
