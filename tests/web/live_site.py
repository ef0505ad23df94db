"""A control plane that answers a browser: real server, real database, and an acted shop behind it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import BrowserContext
from pydantic import SecretStr

from control_plane.accounts import sign_in
from control_plane.accounts.permissions import Role
from control_plane.app import build, create_app
from control_plane.config import BrokerSettings, LogSettings, Settings, SignInSettings
from control_plane.http.security import cookie_name
from control_plane.parts import Parts
from control_plane.server import make_server
from tests.support.ports import LOOPBACK
from tests.support.waiting import eventually
from tests.web.acted_shop import ActedShop

SECRET = "dGVzdHMgb25seSwgdGVzdHMgb25seSwgdGVzdHMgb25seSE="
LIMITS = sign_in.Limits(
    account_attempts=5,
    address_attempts=500,
    window=timedelta(minutes=15),
    idle=timedelta(hours=12),
    absolute=timedelta(days=7),
)


@dataclass(frozen=True, slots=True)
class LiveSite:
    """Where it is, what it is made of, and the shop behind it."""

    address: str
    parts: Parts
    shop: ActedShop

    def sign_in(self, context: BrowserContext, role: Role) -> None:
        """Put the cookie of a new sign-in into a window. The form itself has a test of its own."""
        checked = sign_in.Checked(self.shop.users[role], role.value, self.shop.merchant_id, None)
        with self.parts.database.transaction() as db:
            _, token = sign_in.complete(
                db, checked, "nobody@example.com", LIMITS, ip=LOOPBACK, user_agent="tests"
            )
        context.add_cookies(
            [
                {
                    "name": cookie_name(self.parts),
                    "value": token.reveal(),
                    "url": self.address,
                    "httpOnly": True,
                }
            ]
        )


@contextmanager
def live_site(folder: Path, database_url: str) -> Iterator[LiveSite]:
    """The program on a free port of this machine, until the block ends."""
    listener = socket.create_server((LOOPBACK, 0))
    settings = Settings(
        mode="demo",
        data_dir=folder / "data",
        database_url=database_url,
        port=listener.getsockname()[1],
        secret_key=SecretStr(SECRET),
        broker=BrokerSettings(kind="none"),
        log=LogSettings(level="warning"),
        sign_in=SignInSettings(memory_kib=8, passes=1),
        rate_limit_per_minute=60_000,
    )
    parts = build(settings)
    shop = ActedShop(parts)
    shop.open()
    server = make_server(create_app(parts), parts)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="live-site")
    parts.live.start()
    thread.start()
    try:
        with shop.acting():
            eventually(lambda: server.started)
            yield LiveSite(settings.base_url, parts, shop)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        parts.close()
        listener.close()
