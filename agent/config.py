"""What a person configures on the box: `/etc/omnitill/agent.toml`, with a few things from the environment above it.

Everything about the device's place in the fleet comes from enrolment, not from here.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from agent.errors import AgentError
from protocols.errors import MoneyMismatch
from protocols.money import exponent
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_FILE: Final = Path("/etc/omnitill/agent.toml")
DEFAULT_STATE_DIR: Final = Path("/var/lib/omnitill-agent")

#: Environment variables that stand above the file.
FILE_VARIABLE: Final = "OMNITILL_AGENT_CONFIG"
_VARIABLES: Final = {
    "OMNITILL_AGENT_STATE_DIR": "state_dir",
    "OMNITILL_AGENT_PROFILES_DIR": "profiles_dir",
    "OMNITILL_AGENT_CLOUD": "cloud",
    "OMNITILL_AGENT_LOG_FORMAT": "log_format",
    "OMNITILL_AGENT_LOG_LEVEL": "log_level",
}
#: Set by systemd for a unit with StateDirectory=.
_SYSTEMD_STATE: Final = "STATE_DIRECTORY"


class ConfigUnreadable(AgentError):
    """The configuration cannot be used; the message names the file and the field."""

    code = "config_unreadable"


class ReaderConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[readers]]` table."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}$")]
    """What people call it, such as `counter-1`."""
    profile: str
    address: str
    """`tcp://host:port` or `serial:///dev/…`"""
    currency: str = "EUR"
    password: str = ""
    password_file: str = ""

    def secret(self) -> Secret[str] | None:
        """The reader's password, if one is configured. Raises ConfigUnreadable when its file cannot be read."""
        if not self.password_file:
            return Secret(self.password) if self.password else None
        try:
            return Secret(Path(self.password_file).read_text(encoding="utf-8").strip())
        except OSError as error:
            raise ConfigUnreadable(
                f"the password file of {self.name} cannot be read: {error}", reader=self.name
            ) from error


class DiscoveryConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[discovery]`: which readers are found without being configured."""

    usb: bool = True
    ble: bool = False
    """Off, because a neighbour's reader is heard as well as one's own."""
    serial: list[str] = []
    """Profiles whose question may be put to a USB-serial bridge that nobody configured, in this order. Empty: none is
    asked, because what a question of one protocol does in another is not known."""
    currency: str = "EUR"
    forget_after_h: Annotated[float, Meta(gt=0)] = 24.0
    """A reader that was found and is away for so long is no longer shown."""


class AgentConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings with their defaults."""

    state_dir: str = str(DEFAULT_STATE_DIR)
    profiles_dir: str = ""
    """Folder of signed reader profiles above the built-in ones; empty: `profiles` in the state folder."""
    readers: list[ReaderConfig] = []
    discovery: DiscoveryConfig = DiscoveryConfig()
    cloud: Literal["auto", "mqtt", "https"] = "auto"
    """`auto` goes over HTTPS while MQTT does not get through."""
    https_after_s: Annotated[float, Meta(ge=0, le=3600)] = 20.0
    finish_within_s: Annotated[float, Meta(ge=0, le=600)] = 60.0
    """How long a running payment may go on when the agent is told to stop."""
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def state_path(self) -> Path:
        return Path(self.state_dir)

    @property
    def profiles_path(self) -> Path:
        return Path(self.profiles_dir) if self.profiles_dir else self.state_path / "profiles"


def load(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> AgentConfig:
    """Read the configuration: from `path`, else the file that the environment names, else the default if it is there.

    Raises ConfigUnreadable.
    """
    named = path or (Path(environment[FILE_VARIABLE]) if FILE_VARIABLE in environment else None)
    settings = _read(named or DEFAULT_FILE, must_exist=named is not None)
    if "state_dir" not in settings and _SYSTEMD_STATE in environment:
        settings["state_dir"] = environment[_SYSTEMD_STATE].split(":")[0]
    for variable, name in _VARIABLES.items():
        if variable in environment:
            settings[name] = environment[variable]
    try:
        config = msgspec.convert(settings, AgentConfig)
    except msgspec.ValidationError as error:
        raise ConfigUnreadable(f"{named or DEFAULT_FILE}: {_in_words(str(error))}") from error
    _check_readers(config, str(named or DEFAULT_FILE))
    return config


def _read(path: Path, *, must_exist: bool) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise ConfigUnreadable(f"{path} is not there") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigUnreadable(f"{path}: {error}") from error


def _check_readers(config: AgentConfig, source: str) -> None:
    names = [reader.name for reader in config.readers]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigUnreadable(
            f"{source}: two readers are called {doubled[0]}; give each its own name"
        )
    try:
        exponent(config.discovery.currency)
    except MoneyMismatch as error:
        raise ConfigUnreadable(f"{source}: discovery: {error.reason}") from error
    for reader in config.readers:
        if reader.password and reader.password_file:
            raise ConfigUnreadable(
                f"{source}: {reader.name} has a password and a password_file; keep one of them"
            )
        try:
            exponent(reader.currency)
        except MoneyMismatch as error:
            raise ConfigUnreadable(f"{source}: {reader.name}: {error.reason}") from error


def _in_words(reason: str) -> str:
    """msgspec names the place as `$.readers[0].address`."""
    return reason.replace("Object contains unknown field", "unknown setting").replace("$.", "")
