"""Software of card readers: releases that a merchant keeps here, and updates of single readers."""

from __future__ import annotations
