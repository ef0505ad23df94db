"""What the shop has set on the readers of this box: comes as desired configuration, is checked, kept, and put in force.

A configuration is taken whole or not at all. Secrets come sealed for this device's key; opened they lie in a file that
only the agent can read, because the key may be renewed before they are sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec
import structlog
from msgspec import Struct

from agent.journal import replace_file
from firmware_profiles import settings as schema
from firmware_profiles.errors import SettingRefused
from protocols.cloud.configuration import DeviceConfiguration, document_hash, secret_purpose
from protocols.cloud.events import ReportedConfig
from protocols.errors import MalformedMessage
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from firmware_profiles import ReaderProfile
    from firmware_profiles.settings import Value
    from protocols.cloud.commands import DesiredConfig

log = structlog.get_logger()

_FILE: Final = "reader-settings.json"
#: More would not fit into a report.
_MOST_ERRORS: Final = 20


class SetOnReader(Struct, frozen=True):
    """What is in force on one reader. Its `repr` tells no secret."""

    settings: dict[str, int | bool | str] = {}
    secrets: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"SetOnReader({self.settings!r}, secrets={sorted(self.secrets)!r})"

    def configured(self, profile: ReaderProfile) -> ReaderProfile:
        """The profile as the shop has set it. Raises SettingRefused."""
        return schema.configured(profile, self.settings)

    def password(self) -> Secret[str] | None:
        """The reader's password, when the shop has set it."""
        return Secret(self.secrets["password"]) if "password" in self.secrets else None

    def most_minor(self, profile: ReaderProfile) -> int | None:
        """The largest sale on it, in minor units: as the shop has set it, else as its model has it."""
        most = (schema.defaults(profile) | self.settings).get("max_amount_minor")
        return most if isinstance(most, int) else None


class _Kept(Struct, frozen=True):
    version: int = 0
    hash: str = ""
    readers: dict[str, SetOnReader] = {}


NOTHING_SET: Final = SetOnReader()


class ReaderSettings:
    """The configuration in force. `on_change` is told the ids of readers for which something is different now."""

    def __init__(self, state_dir: Path, device_id: str, *, key: Callable[[], bytes]) -> None:
        self._path = state_dir / _FILE
        self._device_id = device_id
        self._key = key
        self._kept = self._read()
        self._refused: ReportedConfig | None = None
        self.on_change: Callable[[frozenset[str]], None] = lambda _: None
        self.profile_of: Callable[[str], ReaderProfile | None] = lambda _: None
        """The profile of a reader that stands here now."""

    def of(self, reader_id: str) -> SetOnReader:
        """What is set on a reader."""
        return self._kept.readers.get(reader_id, NOTHING_SET)

    def reported(self) -> ReportedConfig:
        """Which configuration is in force, or why the last one is not."""
        if self._refused is not None:
            return self._refused
        status: Literal["none", "applied"] = "applied" if self._kept.hash else "none"
        return ReportedConfig(version=self._kept.version, hash=self._kept.hash, status=status)

    def take(self, desired: DesiredConfig) -> None:
        """Put a configuration in force, or refuse it and keep what there is."""
        if desired.hash == self._kept.hash:
            self._refused = None
            return
        errors: dict[str, str] = {}
        readers: dict[str, SetOnReader] = {}
        try:
            document = _opened(desired)
        except (MalformedMessage, TypeError, msgspec.ValidationError) as error:
            errors["document"] = str(error)[:200]
            document = DeviceConfiguration()
        for reader_id, wanted in document.readers.items():
            try:
                secrets = self._opened(reader_id, wanted.secrets)
            except MalformedMessage as error:
                errors[reader_id] = f"a secret cannot be opened: {error.reason}"[:200]
                continue
            readers[reader_id] = SetOnReader(wanted.settings, secrets)
            if fix := self._objection(reader_id, {**wanted.settings, **secrets}):
                errors[reader_id] = fix[:200]
        if errors:
            first = dict(list(errors.items())[:_MOST_ERRORS])
            log.warning("reader_settings_refused", version=desired.version, errors=first)
            self._refused = ReportedConfig(
                version=desired.version, hash=desired.hash, status="rejected", errors=first
            )
            return
        before = self._kept.readers
        self._keep(_Kept(desired.version, desired.hash, readers))
        self._refused = None
        log.info("reader_settings_applied", version=desired.version)
        everyone = before.keys() | readers.keys()
        changed = {
            one for one in everyone if before.get(one, NOTHING_SET) != readers.get(one, NOTHING_SET)
        }
        self.on_change(frozenset(changed))

    def _opened(self, reader_id: str, sealed: Mapping[str, str]) -> dict[str, str]:
        """Raises MalformedMessage."""
        if not sealed:
            return {}
        from protocols.cloud.sealing import open_sealed  # noqa: PLC0415 (12 MiB, and few have secrets)

        return {
            name: open_sealed(
                text, self._key(), secret_purpose(self._device_id, reader_id, name)
            ).decode()
            for name, text in sealed.items()
        }

    def _objection(self, reader_id: str, values: Mapping[str, Value]) -> str:
        """What is wrong with the values of a reader that stands here; another one is asked about when it comes."""
        profile = self.profile_of(reader_id)
        if profile is None:
            return ""
        try:
            schema.check(profile, values)
        except SettingRefused as refused:
            return str(refused)
        return ""

    def _keep(self, kept: _Kept) -> None:
        replace_file(self._path, msgspec.json.encode(kept))
        self._kept = kept

    def _read(self) -> _Kept:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return _Kept()
        except (OSError, msgspec.DecodeError) as error:
            # Forgotten settings come again: their hash is no longer the one that we report.
            log.warning("reader_settings_unreadable", reason=str(error))
            return _Kept()


def _opened(desired: DesiredConfig) -> DeviceConfiguration:
    """Raises MalformedMessage, TypeError, msgspec.ValidationError."""
    if document_hash(desired.document) != desired.hash:
        raise MalformedMessage("its hash is that of another document")
    return msgspec.convert(desired.document, DeviceConfiguration)
