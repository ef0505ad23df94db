"""The account with a processor that opens what readers seal: connecting it, telling how it is, letting it go.

CyberSource's keys do not say whether they are for real money: whoever connects says so, and that decides the server for
ever. A key of real money meets no server but the live one, a test key no server but the test one.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import delete, insert, select, update

from control_plane.audit.actor import Actor
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.card_present import queries
from control_plane.card_present.errors import (
    AuthorizationsOpen,
    CardPresentKeyRefused,
    CardPresentNotConnected,
    LiveAccountElsewhere,
    LiveAccountInDemo,
    SandboxAccountInLive,
)
from control_plane.card_present.models import CARD_ACCOUNTS
from control_plane.card_present.processor import (
    Access,
    CardPresentError,
    CardPresentProcessors,
    ProcessorRefused,
)
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import Unavailable
from protocols.ids import new_id

LIVE_BASE: Final = "https://api.cybersource.com"
TEST_BASE: Final = "https://apitest.cybersource.com"
#: Keys of our sandbox acquirer begin so; no other server ever sees one.
SANDBOX_KEY: Final = "sandbox-"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardAccountView:
    """A connected account, without its secret."""

    id: str
    merchant_id: str
    processor: str
    organization: str
    key_id: str = field(repr=False)
    livemode: bool
    api_base: str
    connected_at: datetime
    problem: str

    @property
    def key_hint(self) -> str:
        """The end of the key's serial number, to recognise it by."""
        return self.key_id[-4:]

    @property
    def address(self) -> str:
        """The server that is asked."""
        return base_of(self.livemode, self.api_base)


def base_of(livemode: bool, api_base: str) -> str:
    """The server of an account."""
    return api_base or (LIVE_BASE if livemode else TEST_BASE)


def refuse_mismatch(access: Access, mode: str) -> None:
    """Raises what keeps an account, an address and the mode of the installation from going together."""
    is_own = urlsplit(access.base).hostname in {
        urlsplit(one).hostname for one in (LIVE_BASE, TEST_BASE)
    }
    if access.base and (access.livemode or is_own):
        # A named address is only for sandboxes: what the processor's own are, `livemode` says.
        raise LiveAccountElsewhere(field="api_base", api_base=access.base)
    if access.livemode and mode != "live":
        raise LiveAccountInDemo(field="livemode", mode=mode)
    if access.base and mode == "live":
        raise SandboxAccountInLive(field="api_base", api_base=access.base)
    if access.key_id.startswith(SANDBOX_KEY) != bool(access.base):
        raise CardPresentKeyRefused(
            field="key_id",
            reason="A key of the sandbox works at the sandbox only, and no other key works there.",
        )


def account_of(db: Transaction, merchant_id: str) -> CardAccountView | None:
    """The merchant's account, if one is connected."""
    row = queries.account_row(db, merchant_id)
    return None if row is None else _view(row)


def access_of(db: Transaction, merchant_id: str) -> Access | None:
    """What is needed to speak for the merchant."""
    row = queries.account_row(db, merchant_id)
    return None if row is None else _access(row)


class CardAccounts:
    """What is done with an account, in transactions of its own; the processor is asked between them."""

    def __init__(
        self, database: Database, processors: CardPresentProcessors, clock: Clock, mode: str
    ) -> None:
        self._database = database
        self._processors = processors
        self._clock = clock
        self._mode = mode

    def connect(self, merchant_id: str, actor: Actor, access: Access) -> CardAccountView:
        """Check the key by asking with it, and keep it sealed. The same organisation again replaces its key.

        Raises CardPresentKeyRefused, LiveAccountElsewhere, LiveAccountInDemo, SandboxAccountInLive,
        AuthorizationsOpen, Unavailable.
        """
        access = _checked(access, self._mode)
        try:
            self._processors.with_access(access).check()
        except ProcessorRefused as error:
            raise CardPresentKeyRefused(
                field="secret",
                reason="CyberSource does not know this key. Copy it once more.",
            ) from error
        except CardPresentError as error:
            raise Unavailable(what="CyberSource") from error
        now = self._clock.now()
        values: dict[str, Any] = {
            "organization": access.organization,
            "key_id": access.key_id,
            "secret": access.secret,
            "livemode": access.livemode,
            "api_base": access.base,
            "problem": "",
        }
        with self._database.connection() as db:
            before = account_of(db, merchant_id)
            if before is None:
                new = {
                    "id": new_id("cpa"),
                    "merchant_id": merchant_id,
                    "processor": "cybersource",
                    "connected_at": now,
                }
                db.execute(insert(CARD_ACCOUNTS).values(**new, **values))
            else:
                is_other = (before.organization, before.address) != (
                    access.organization,
                    base_of(access.livemode, access.base),
                )
                if is_other:
                    _refuse_open(db, merchant_id)
                db.execute(
                    update(CARD_ACCOUNTS).where(CARD_ACCOUNTS.c.id == before.id).values(**values)
                )
            account = _here(db, merchant_id)
            record(
                db, merchant_id, actor, AuditTag.CARD_PRESENT_CONNECT,
                object_id=account.id, object_name=account.organization,
                after={"organization": account.organization, "livemode": access.livemode, "api_base": access.base},
            )  # fmt: skip
            return account

    def check(self, merchant_id: str) -> str:
        """What the processor objects to about the account; empty when it works. Raises CardPresentNotConnected."""
        problem = ""
        try:
            self._processors.of(merchant_id).check()
        except CardPresentError as error:
            problem = str(error)[:300]
        with self._database.connection() as db:
            db.execute(
                update(CARD_ACCOUNTS)
                .where(CARD_ACCOUNTS.c.merchant_id == merchant_id)
                .values(problem=problem)
            )
        return problem

    def disconnect(self, merchant_id: str, actor: Actor) -> None:
        """Forget the key; what was taken stays. Raises CardPresentNotConnected, AuthorizationsOpen."""
        with self._database.connection() as db:
            account = _here(db, merchant_id)
            _refuse_open(db, merchant_id)
            db.execute(delete(CARD_ACCOUNTS).where(CARD_ACCOUNTS.c.id == account.id))
            record(
                db, merchant_id, actor, AuditTag.CARD_PRESENT_DISCONNECT,
                object_id=account.id, object_name=account.organization,
                before={"organization": account.organization, "livemode": account.livemode},
            )  # fmt: skip

    def refuse_mismatches(self) -> None:
        """Raises what keeps any stored account from being used in this mode; asked before the program serves."""
        with self._database.reading_connection() as db:
            for row in db.execute(select(CARD_ACCOUNTS)):
                refuse_mismatch(_access(row), self._mode)


def _refuse_open(db: Transaction, merchant_id: str) -> None:
    count = queries.unsettled(db, merchant_id)
    if count:
        raise AuthorizationsOpen(count=count)


def _here(db: Transaction, merchant_id: str) -> CardAccountView:
    account = account_of(db, merchant_id)
    if account is None:
        raise CardPresentNotConnected
    return account


def _checked(access: Access, mode: str) -> Access:
    access = replace(
        access,
        organization=access.organization.strip(),
        key_id=access.key_id.strip(),
        secret=access.secret.strip(),
        base=access.base.strip().rstrip("/"),
    )
    for name, value in (("organization", access.organization), ("key_id", access.key_id)):
        if not _NAME.fullmatch(value):
            raise CardPresentKeyRefused(
                field=name, reason="Copy it from the Business Center: letters, digits and dashes."
            )
    try:
        secret = base64.b64decode(access.secret, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < 16:
        raise CardPresentKeyRefused(
            field="secret",
            reason="A shared secret is a longer text of base64. Copy it from the Business Center.",
        )
    scheme = urlsplit(access.base).scheme
    if access.base and scheme not in {"http", "https"}:
        raise CardPresentKeyRefused(
            field="api_base", reason="An address begins with http:// or https://."
        )
    refuse_mismatch(access, mode)
    return access


def _access(row: queries.Found) -> Access:
    return Access(
        organization=row.organization,
        key_id=row.key_id,
        secret=row.secret,
        livemode=row.livemode,
        base=row.api_base,
    )


def _view(row: queries.Found) -> CardAccountView:
    return CardAccountView(
        id=row.id,
        merchant_id=row.merchant_id,
        processor=row.processor,
        organization=row.organization,
        key_id=row.key_id,
        livemode=row.livemode,
        api_base=row.api_base,
        connected_at=row.connected_at,
        problem=row.problem,
    )
