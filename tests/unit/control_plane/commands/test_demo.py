"""The command line of the demo."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from control_plane.commands import demo


@pytest.fixture
def parse() -> Callable[..., argparse.Namespace]:
    parser = argparse.ArgumentParser()
    demo.register(parser.add_subparsers())
    return lambda *words: parser.parse_args(["demo", *words])


@pytest.mark.parametrize(
    ("given", "meant"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "::1")]
)
def test_the_demo_listens_on_this_machine(
    parse: Callable[..., argparse.Namespace], given: str, meant: str
) -> None:
    assert parse("--host", given).host == meant


@pytest.mark.parametrize("given", ["0.0.0.0", "192.0.2.1", "::", "shop.example"])
def test_the_demo_never_listens_where_others_could_reach_it(
    parse: Callable[..., argparse.Namespace], given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        parse("--host", given)

    assert refused.value.code == 2
    assert "this machine" in capsys.readouterr().err


def test_without_arguments_it_is_quick_to_type(parse: Callable[..., argparse.Namespace]) -> None:
    chosen = parse()

    assert (chosen.port, chosen.broker, chosen.database, chosen.data_dir, chosen.check) == (
        8000,
        "nats",
        "",
        None,
        False,
    )
