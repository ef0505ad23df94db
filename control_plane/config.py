"""Settings: environment variables ``OMNITILL_…``, over a TOML file named by ``OMNITILL_CONFIG``, over defaults.

A nested setting is ``OMNITILL_BROKER__PORT=8883`` in the environment and ``[broker] port = 8883`` in the
file. Nothing but ``app.build`` reads ``mode`` to choose between adapters.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

CONFIG_VARIABLE = "OMNITILL_CONFIG"
_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})


class BrokerSettings(BaseModel):
    """The MQTT broker that devices connect to."""

    kind: Literal["embedded_nats", "mosquitto", "none"] = "embedded_nats"
    #: Where this process reaches the broker, and where an embedded one listens.
    host: str = "127.0.0.1"
    port: int = 8883
    #: What devices are told to connect to; the host of ``public_url`` when empty.
    public_host: str = ""
    public_port: int | None = None
    #: Files of the broker: generated configuration, its store, certificates. Under ``data_dir`` when empty.
    folder: Path | None = None
    #: The server program, when it is not found by itself.
    program: Path | None = None


class LogSettings(BaseModel):
    """How the log looks and how much is in it."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "text"


class SignInSettings(BaseModel):
    """How long a sign-in lasts and how guessing is slowed down."""

    idle_minutes: int = 12 * 60
    absolute_hours: int = 7 * 24
    #: Wrong passwords for one account before it waits; each further one doubles the wait.
    account_attempts: int = 5
    #: Attempts from one address in a window before it waits.
    address_attempts: int = 60
    window_minutes: int = 15
    invitation_hours: int = 72
    #: Cost of one password check (argon2id), at least what OWASP asks for.
    memory_kib: int = 47_104
    passes: int = 1

    @property
    def invitation_life(self) -> timedelta:
        """How long an invitation is good for."""
        return timedelta(hours=self.invitation_hours)


class MailSettings(BaseModel):
    """The server that takes our mail. Without a host, the demo and test worlds have a mailbox of their own."""

    host: str = ""
    port: int = 587
    #: ``starttls`` (usually port 587), ``tls`` from the first byte (usually 465), or ``none``.
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: SecretStr = SecretStr("")
    #: The address that mail comes from; its name is that of the merchant.
    sender: str = ""
    #: Certificates to trust instead of the system's.
    ca_file: Path | None = None
    timeout_s: float = 15

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.host and "@" not in self.sender:
            raise ValueError("mail needs a sender: set OMNITILL_MAIL__SENDER to an address")
        if self.security == "none" and self.username and self.host not in _THIS_MACHINE:
            raise ValueError(
                "a password is not sent unencrypted: set OMNITILL_MAIL__SECURITY to tls"
            )
        return self


class Settings(BaseSettings):
    """Everything an operator can choose. Each has a default with which one shop runs."""

    model_config = SettingsConfigDict(
        env_prefix="OMNITILL_", env_nested_delimiter="__", extra="forbid", validate_default=True
    )

    mode: Literal["demo", "test", "live"] = "live"
    data_dir: Path = Path("omnitill-data")
    #: ``sqlite:///…`` or ``postgresql://…``; a file in ``data_dir`` when empty.
    database_url: str = ""
    #: Signed reader profiles above the built-in ones; ``profiles`` in ``data_dir`` when empty.
    profiles_dir: Path | None = None
    #: Connections kept to PostgreSQL, and threads that answer requests.
    database_pool: int = 40
    host: str = "127.0.0.1"
    port: int = 8000
    #: How browsers and devices reach us, without a slash at the end.
    public_url: str = ""
    #: Addresses whose ``X-Forwarded-…`` headers are believed, as uvicorn writes them.
    trusted_proxies: str = "127.0.0.1"
    #: Seals sessions, cursors and secret columns: 32 bytes or more in base64, the same on every replica. Made in
    #: ``data_dir`` when empty.
    secret_key: SecretStr = SecretStr("")
    #: Former keys, still accepted for reading.
    retired_secret_keys: Annotated[list[SecretStr], NoDecode] = []
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    sign_in: SignInSettings = Field(default_factory=SignInSettings)
    mail: MailSettings = Field(default_factory=MailSettings)
    #: Requests a minute of one caller to the API.
    rate_limit_per_minute: int = 1200
    #: Largest request body, in bytes.
    body_limit: int = 4 * 1024 * 1024
    #: Who may read ``/metrics`` from elsewhere than this machine.
    metrics_token: SecretStr = SecretStr("")
    worker_threads: int = 4

    @field_validator("retired_secret_keys", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        sources = [init_settings, env_settings]
        if path := os.environ.get(CONFIG_VARIABLE):
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=Path(path)))
        return tuple(sources)

    @property
    def base_url(self) -> str:
        """How browsers and devices reach us."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def is_https(self) -> bool:
        """Whether browsers reach us over TLS, so that cookies are bound to it."""
        return self.base_url.startswith("https://")

    @property
    def effective_database_url(self) -> str:
        """The address in use, with the driver that we ship."""
        url = self.database_url or f"sqlite:///{self.data_dir / 'omnitill.sqlite3'}"
        for plain in ("postgresql://", "postgres://"):
            if url.startswith(plain):
                return "postgresql+psycopg://" + url.removeprefix(plain)
        return url

    @property
    def firmware_folder(self) -> Path:
        """Where the files of reader software lie; replicas share it."""
        return self.data_dir / "firmware"

    @property
    def profiles_folder(self) -> Path:
        """Where signed reader profiles above the built-in ones lie."""
        return self.profiles_dir or self.data_dir / "profiles"

    @property
    def broker_folder(self) -> Path:
        """Where files of the broker lie."""
        return self.broker.folder or self.data_dir / "broker"
