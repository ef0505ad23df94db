"""The account with the card processor: connecting it, what it may do, its webhook secrets, letting it go.

No function talks to the processor inside a transaction; those that talk open their own before and after.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Row, bindparam, delete, func, insert, select, update

from control_plane.audit.actor import Actor
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.unit_of_work import Transaction
from control_plane.db.upsert import changed
from control_plane.errors import Unavailable
from control_plane.virtual_terminal.errors import (
    AlreadyConnected,
    KeyRefused,
    LiveKeyElsewhere,
    LiveKeyInDemo,
    NotConnected,
    PaymentsOpen,
    SandboxInLive,
)
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.models import ACCOUNTS, PAYMENTS
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    NotReached,
    Processor,
    ProcessorAccountInfo,
    ProcessorError,
    Processors,
    Refused,
)
from protocols.ids import new_id
from protocols.secret import Secret

log = structlog.get_logger()

#: The processor's own addresses.
API_BASE: Final = "https://api.stripe.com"
SCRIPT_URL: Final = "https://js.stripe.com/endive/stripe.js"
_SANDBOX_SCRIPT: Final = "/sandbox-stripe.js"
#: While a new secret takes over, what was signed with the one before it still counts.
_SECRETS_KEPT: Final = 2
_SECRET_KEY: Final = re.compile(r"(?:sk|rk)_(live|test)_[A-Za-z0-9_]{4,240}")
_PUBLISHABLE_KEY: Final = re.compile(r"pk_(live|test)_[A-Za-z0-9_]{4,190}")
_WEBHOOK_SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/=_-]{8,200}")
_UNSETTLED: Final = (
    PaymentState.IN_PROGRESS,
    PaymentState.REQUIRES_ACTION,
    PaymentState.PROCESSING,
    PaymentState.AUTHORIZED,
    PaymentState.UNKNOWN,
)
#: Events that are asked for when we set the webhook up ourselves.
WEBHOOK_KINDS: Final = (
    "payment_intent.succeeded", "payment_intent.amount_capturable_updated",
    "payment_intent.payment_failed", "payment_intent.canceled", "payment_intent.processing",
    "payment_intent.requires_action", "charge.succeeded", "charge.captured", "charge.failed",
    "charge.expired", "charge.updated", "charge.refunded", "charge.dispute.created", "charge.dispute.updated",
    "charge.dispute.closed", "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated",
    "refund.created", "refund.updated", "refund.failed", "setup_intent.succeeded",
    "setup_intent.setup_failed", "payment_method.automatically_updated", "payment_method.detached",
    "mandate.updated", "account.updated", "radar.early_fraud_warning.created",
    "terminal.reader.action_succeeded", "terminal.reader.action_failed",
    "terminal.reader.action_updated",
)  # fmt: skip

_BY_MERCHANT: Final = select(ACCOUNTS).where(ACCOUNTS.c.merchant_id == bindparam("merchant"))
_BY_ID: Final = select(ACCOUNTS).where(ACCOUNTS.c.id == bindparam("account"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What an owner pastes in. Addresses stay empty but for the sandbox."""

    secret_key: Secret[str]
    publishable_key: str
    webhook_secret: Secret[str] | None = None
    api_base: str = ""
    script_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """A connected account, without what is secret."""

    id: str
    merchant_id: str
    account_id: str
    publishable_key: str
    api_base: str
    script_url: str
    livemode: bool
    country: str
    default_currency: str
    moto_enabled: bool | None
    moto_probed_at: datetime | None
    connected_at: datetime
    swept_until: datetime | None
    webhook_secrets: int
    """How many are accepted; 0 when none was given yet."""
    key_hint: str = field(default="")
    """The end of the secret key, to recognise it by."""

    @property
    def is_sandbox(self) -> bool:
        """Whether money is play money on a server of our own."""
        return bool(self.api_base)


def webhook_address(base_url: str, account_id: str = "") -> str:
    """Where the processor sends the events of an account; without one, what all such addresses begin with."""
    return f"{base_url}/webhooks/stripe/{account_id}".rstrip("/")


def refuse_mismatch(secret_key: str, api_base: str, mode: str) -> None:
    """Raises what keeps a key, an address and the mode of the installation from going together.

    Real money goes to the processor itself only, and play money never where real money is expected.
    """
    is_live_key = "_live_" in secret_key[:8]
    is_foreign = bool(api_base) and not _is_own(api_base)
    if is_live_key and is_foreign:
        raise LiveKeyElsewhere(field="api_base", api_base=api_base)
    if is_live_key and mode != "live":
        raise LiveKeyInDemo(field="secret_key", mode=mode)
    if is_foreign and mode == "live":
        raise SandboxInLive(field="api_base", api_base=api_base)


def account_of(db: Transaction, merchant_id: str) -> AccountView | None:
    """The merchant's account, if one is connected."""
    row = db.execute(_BY_MERCHANT, {"merchant": merchant_id}).one_or_none()
    return None if row is None else _view(row)


def account_by_id(db: Transaction, account_id: str) -> AccountView | None:
    """The account that is called ``acc_…`` here, whosesoever it is."""
    row = db.execute(_BY_ID, {"account": account_id}).one_or_none()
    return None if row is None else _view(row)


def accounts(db: Transaction) -> list[AccountView]:
    """All accounts of all merchants, for what runs by the clock."""
    return [_view(row) for row in db.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.id))]


def webhook_secrets(db: Transaction, account_id: str) -> tuple[str, list[str]] | None:
    """Whose account it is and what its webhooks may be signed with, the newest first; None for an unknown account."""
    row = db.execute(_BY_ID, {"account": account_id}).one_or_none()
    return None if row is None else (row.merchant_id, _secrets(row)[::-1])


class Accounts:
    """What is done with an account, in transactions of its own."""

    def __init__(self, database: Database, processors: Processors, clock: Clock, mode: str) -> None:
        self._database = database
        self._processors = processors
        self._clock = clock
        self._mode = mode

    def connect(
        self, merchant_id: str, actor: Actor, keys: Keys, *, webhook_url: str = ""
    ) -> AccountView:
        """Check the keys by asking the account, and keep them sealed. The same account again replaces its keys.

        Without a webhook secret, and with an address of ours, the webhook is set up there by us; an account whose
        key may not do that is connected all the same. Raises KeyRefused, LiveKeyElsewhere, LiveKeyInDemo,
        SandboxInLive, AlreadyConnected, Unavailable.
        """
        checked = _checked(keys, self._mode)
        with self._database.reading_connection() as db:
            before = account_of(db, merchant_id)
        processor = self._processors.with_key(checked.secret_key, checked.api_base)
        info = _asked(processor)
        if before is not None and before.account_id != info.id:
            raise AlreadyConnected(account_id=before.account_id)
        if info.livemode != _is_live(checked.secret_key):
            raise KeyRefused(
                field="secret_key",
                reason="Stripe says that this key is of another mode. Copy it once more.",
            )
        moto = _probed(processor)
        account_id = before.id if before is not None else new_id("acc")
        secret = checked.webhook_secret
        if secret is None and webhook_url and (before is None or not before.webhook_secrets):
            secret = _set_up_webhook(processor, f"{webhook_url}/{account_id}", account_id)
        now = self._clock.now()
        values: dict[str, Any] = {
            "account_id": info.id,
            "secret_key": checked.secret_key.reveal(),
            "publishable_key": checked.publishable_key,
            "api_base": checked.api_base,
            "script_url": checked.script_url,
            "livemode": info.livemode,
            "country": info.country.upper(),
            "default_currency": info.default_currency.upper(),
            "moto_enabled": moto,
            "moto_probed_at": None if moto is None else now,
        }
        with self._database.connection() as db:
            if before is None:
                new = {
                    "id": account_id,
                    "merchant_id": merchant_id,
                    "processor": "stripe",
                    "webhook_secrets": "",
                    "connected_at": now,
                }
                db.execute(insert(ACCOUNTS).values(**new, **values))
            else:
                db.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(**values))
            if secret is not None:
                _add_secret(db, account_id, secret)
            record(
                db, merchant_id, actor, AuditTag.PROCESSOR_CONNECT,
                object_id=account_id, object_name=info.business_name or info.id,
                after={"account_id": info.id, "livemode": info.livemode, "api_base": checked.api_base},
            )  # fmt: skip
            return _here(db, merchant_id)

    def probe(self, merchant_id: str, actor: Actor) -> AccountView:
        """Ask again whether cards may be typed in for who is not there. Raises NotConnected, Unavailable."""
        moto = _probed(self._processors.of(merchant_id))
        if moto is None:
            raise Unavailable(what="Stripe")
        with self._database.connection() as db:
            account = _here(db, merchant_id)
            db.execute(
                update(ACCOUNTS)
                .where(ACCOUNTS.c.id == account.id)
                .values(moto_enabled=moto, moto_probed_at=self._clock.now())
            )
            record(
                db, merchant_id, actor, AuditTag.PROCESSOR_PROBE,
                object_id=account.id, object_name=account.account_id,
                before={"moto_enabled": account.moto_enabled}, after={"moto_enabled": moto},
            )  # fmt: skip
            return _here(db, merchant_id)

    def refresh(self, merchant_id: str) -> None:
        """Read country and currency again; what else may have changed there is read when it is needed."""
        info = _asked(self._processors.of(merchant_id))
        with self._database.connection() as db:
            db.execute(
                update(ACCOUNTS)
                .where(ACCOUNTS.c.merchant_id == merchant_id, ACCOUNTS.c.account_id == info.id)
                .values(
                    country=info.country.upper(), default_currency=info.default_currency.upper()
                )
            )

    def rotate_webhook_secret(
        self, merchant_id: str, actor: Actor, secret: Secret[str]
    ) -> AccountView:
        """Accept another secret from now on; the one before it counts until ``retire_webhook_secrets``.

        Raises NotConnected, KeyRefused.
        """
        if not _WEBHOOK_SECRET.fullmatch(secret.reveal()):
            raise KeyRefused(
                field="webhook_secret", reason="A webhook secret begins with whsec_. Copy it again."
            )
        with self._database.connection() as db:
            account = _here(db, merchant_id)
            _add_secret(db, account.id, secret)
            record(
                db, merchant_id, actor, AuditTag.WEBHOOK_SECRET_ROTATE,
                object_id=account.id, object_name=account.account_id,
            )  # fmt: skip
            return _here(db, merchant_id)

    def retire_webhook_secrets(self, merchant_id: str, actor: Actor) -> AccountView:
        """From now on only the newest secret counts. Raises NotConnected."""
        with self._database.connection() as db:
            account = _here(db, merchant_id)
            if account.webhook_secrets > 1:
                row = db.execute(_BY_ID, {"account": account.id}).one()
                _keep_secrets(db, account.id, _secrets(row)[-1:])
                record(
                    db, merchant_id, actor, AuditTag.WEBHOOK_SECRET_ROTATE,
                    object_id=account.id, object_name=account.account_id,
                    after={"accepted": 1},
                )  # fmt: skip
            return _here(db, merchant_id)

    def disconnect(self, merchant_id: str, actor: Actor) -> None:
        """Forget the keys. Payments, readers and events stay. Raises NotConnected, PaymentsOpen."""
        with self._database.connection() as db:
            account = _here(db, merchant_id)
            unsettled = select(func.count()).where(
                PAYMENTS.c.merchant_id == merchant_id, PAYMENTS.c.state.in_(_UNSETTLED)
            )
            count = db.execute(unsettled).scalar_one()
            if count:
                raise PaymentsOpen(count=count)
            changed(db, delete(ACCOUNTS).where(ACCOUNTS.c.id == account.id))
            record(
                db, merchant_id, actor, AuditTag.PROCESSOR_DISCONNECT,
                object_id=account.id, object_name=account.account_id,
                before={"account_id": account.account_id, "livemode": account.livemode},
            )  # fmt: skip

    def refuse_mismatches(self) -> None:
        """Raises what keeps any stored account from being used in this mode; asked before the program serves."""
        with self._database.reading_connection() as db:
            for row in db.execute(select(ACCOUNTS)):
                refuse_mismatch(row.secret_key, row.api_base, self._mode)


def _here(db: Transaction, merchant_id: str) -> AccountView:
    account = account_of(db, merchant_id)
    if account is None:
        raise NotConnected
    return account


def _checked(keys: Keys, mode: str) -> Keys:
    """The keys without blanks around them, and the addresses filled in."""
    secret = keys.secret_key.reveal().strip()
    publishable = keys.publishable_key.strip()
    if secret.startswith("pk_"):
        raise KeyRefused(
            field="secret_key", reason="This is the publishable key. Here belongs the secret one."
        )
    if not _SECRET_KEY.fullmatch(secret):
        raise KeyRefused(
            field="secret_key", reason="A secret key begins with sk_ or rk_. Copy it from Stripe."
        )
    kind = _PUBLISHABLE_KEY.fullmatch(publishable)
    if kind is None:
        raise KeyRefused(
            field="publishable_key",
            reason="A publishable key begins with pk_. Copy it from Stripe.",
        )
    if (kind[1] == "live") != _is_live(Secret(secret)):
        raise KeyRefused(
            field="publishable_key",
            reason="One key is for tests and the other for real money. Copy both of one kind.",
        )
    webhook = keys.webhook_secret
    if webhook is not None:
        webhook = Secret(webhook.reveal().strip())
        if not _WEBHOOK_SECRET.fullmatch(webhook.reveal()):
            raise KeyRefused(
                field="webhook_secret", reason="A webhook secret begins with whsec_. Copy it again."
            )
    base = keys.api_base.strip().rstrip("/")
    if base and urlsplit(base).scheme not in {"http", "https"}:
        raise KeyRefused(
            field="api_base", reason="An address begins with https://, such as that of the sandbox."
        )
    base = "" if _is_own(base) else base
    refuse_mismatch(secret, base, mode)
    script = keys.script_url.strip() or (f"{base}{_SANDBOX_SCRIPT}" if base else SCRIPT_URL)
    return Keys(
        secret_key=Secret(secret),
        publishable_key=publishable,
        webhook_secret=webhook,
        api_base=base,
        script_url=script,
    )


def _asked(processor: Processor) -> ProcessorAccountInfo:
    try:
        return processor.account()
    except Refused as refused:
        reason = "Stripe does not know this key, or it was revoked. Copy it once more."
        raise KeyRefused(field="secret_key", reason=reason, told=str(refused)) from refused
    except (NotReached, AnswerUnknown) as silent:
        raise Unavailable(what="Stripe") from silent


def _probed(processor: Processor) -> bool | None:
    """None when it could not be found out; then it is asked when it matters."""
    try:
        return processor.probe_moto()
    except ProcessorError as unknown:
        log.warning("moto_not_probed", reason=str(unknown))
        return None


def _set_up_webhook(processor: Processor, url: str, account_id: str) -> Secret[str] | None:
    try:
        return processor.add_webhook(url, WEBHOOK_KINDS, key=f"{account_id}:webhook").secret
    except ProcessorError as refused:
        # A restricted key may not, and an address that only this machine knows is not taken.
        log.warning("webhook_not_set_up", account_id=account_id, reason=str(refused))
        return None


def _add_secret(db: Transaction, account_id: str, secret: Secret[str]) -> None:
    row = db.execute(_BY_ID, {"account": account_id}).one()
    others = [one for one in _secrets(row) if one != secret.reveal()]
    _keep_secrets(db, account_id, [*others, secret.reveal()][-_SECRETS_KEPT:])


def _keep_secrets(db: Transaction, account_id: str, secrets: Iterable[str]) -> None:
    db.execute(
        update(ACCOUNTS)
        .where(ACCOUNTS.c.id == account_id)
        .values(webhook_secrets="\n".join(secrets))
    )


def _secrets(row: Row[Any]) -> list[str]:
    text: str = row.webhook_secrets
    return text.split()


def _view(row: Row[Any]) -> AccountView:
    return AccountView(
        id=row.id,
        merchant_id=row.merchant_id,
        account_id=row.account_id,
        publishable_key=row.publishable_key,
        api_base=row.api_base,
        script_url=row.script_url,
        livemode=row.livemode,
        country=row.country,
        default_currency=row.default_currency,
        moto_enabled=row.moto_enabled,
        moto_probed_at=row.moto_probed_at,
        connected_at=row.connected_at,
        swept_until=row.swept_until,
        webhook_secrets=len(_secrets(row)),
        key_hint=row.secret_key[-4:],
    )


def _is_live(secret_key: Secret[str]) -> bool:
    return "_live_" in secret_key.reveal()[:8]


def _is_own(api_base: str) -> bool:
    return api_base.rstrip("/") == API_BASE
