"""Byte pipes to readers, one module per scheme, found by name: `transport_for("tcp://192.168.1.50:20007")`.

A module is imported when an address first needs it, so that an agent with network readers never loads pyserial.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

from agent.errors import AddressUnreadable
from agent.transports.transport import Address, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Address", "Transport", "schemes", "transport_for"]


def schemes() -> dict[str, str]:
    """Scheme -> module name. A module is named like its scheme, with `_port` where that name belongs to a library.

    Other modules with an underscore are parts of a transport.
    """
    names = (module.name for module in pkgutil.iter_modules(__path__) if module.name != "transport")
    return {
        name.removesuffix("_port"): name for name in names if "_" not in name.removesuffix("_port")
    }


def transport_for(address: str, defaults: Mapping[str, object] | None = None) -> Transport:
    """A closed transport for an address; `defaults` (from the reader's profile) stand under what the address says.

    Raises AddressUnreadable when no transport understands it.
    """
    parsed = Address.parse(address, defaults or {})
    module = schemes().get(parsed.scheme)
    if module is None:
        known = ", ".join(f"{scheme}://" for scheme in sorted(schemes()))
        raise AddressUnreadable(
            f"{address!r} starts with no known transport; known are {known}", address=address
        )
    return cast(
        "Transport", importlib.import_module(f"agent.transports.{module}").from_address(parsed)
    )
