"""What the way to the network takes for surely not sent, and what it overcomes by itself."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from control_plane.db.keyring import Keyring
from control_plane.devices.authority import Authority
from control_plane.processors.stripe.adapter import StripeProcessor
from control_plane.processors.stripe.client import Access
from control_plane.virtual_terminal.processor import NotReached
from tests.fakes.clock import FakeClock
from tests.fixtures.virtual_terminal import PATIENCE
from tests.support.play_account import PlayAccount
from tests.support.ports import LOOPBACK, free_port
from tests.support.stripe_sandbox import SECRET_KEY
from tests.support.tcp_proxy import TcpProxy


def processor_at(url: str) -> StripeProcessor:
    return StripeProcessor(Access(secret_key=SECRET_KEY, base=url), PATIENCE)


def test_a_server_that_cannot_prove_who_it_is_gets_no_request(tmp_path: Path) -> None:
    with (
        _stranger(tmp_path) as (url, heard),
        closing(processor_at(url)) as processor,
        pytest.raises(NotReached) as refused,
    ):
        processor.refund("pi_1", amount_minor=1, reason=None, metadata={}, key="rfd_1")

    assert "CERTIFICATE_VERIFY_FAILED" in str(refused.value)
    assert heard == []


def test_a_proxy_that_is_not_there_is_surely_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{LOOPBACK}:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)

    with closing(processor_at("http://stripe.invalid")) as processor, pytest.raises(NotReached):
        processor.account()


def test_calls_go_through_the_proxy_of_the_environment(
    sandbox: PlayAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", sandbox.url)
    monkeypatch.delenv("no_proxy", raising=False)

    # The sandbox takes the whole address for its path, as a proxy would: an answer of its own proves who was asked.
    with closing(processor_at("http://stripe.invalid")) as processor:
        assert processor.account().id.startswith("acct_")


def test_a_kept_connection_that_broke_meanwhile_is_made_anew(sandbox: PlayAccount) -> None:
    cable = TcpProxy(urlsplit(sandbox.url).port or 0)
    with closing(cable), closing(processor_at(f"http://{LOOPBACK}:{cable.port}")) as processor:
        first = processor.account()
        cable.cut()
        cable.mend()

        assert processor.account() == first


def test_threads_share_one_client(sandbox: PlayAccount) -> None:
    found: list[str] = []
    with closing(processor_at(sandbox.url)) as processor:
        threads = [
            threading.Thread(target=lambda: found.append(processor.account().id)) for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(found) == 16
    assert len(set(found)) == 1


@contextmanager
def _stranger(folder: Path) -> Iterator[tuple[str, list[bytes]]]:
    """A TLS server that an authority nobody knows has signed; with what it heard."""
    authority = Authority.open(folder, Keyring([b"tests only" * 4]), FakeClock())
    pair = authority.make_server([LOOPBACK])
    (folder / "cert.pem").write_text(pair.certificate_pem)
    (folder / "key.pem").write_text(pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    heard: list[bytes] = []
    listener = socket.create_server((LOOPBACK, 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with (
                plain,
                contextlib.suppress(OSError),
                context.wrap_socket(plain, server_side=True) as secured,
            ):
                heard.append(secured.recv(4096))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://{LOOPBACK}:{listener.getsockname()[1]}", heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)
