"""Reader profiles that the installation signed, above those that the agent brings along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import identity as identities
from agent.identity import NotEnrolled
from firmware_profiles import use_overlay

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from firmware_profiles import ProfileError


def choose(config: AgentConfig) -> list[ProfileError]:
    """Use the profiles of the configured folder in this process; what is wrong with them, and then none is used.

    Their signature must be of the installation that this device is enrolled with.
    """
    try:
        authorities = identities.load(config.state_path).ca_file.read_bytes()
    except (NotEnrolled, OSError):
        authorities = b""
    return use_overlay(config.profiles_path, authorities)
