"""Keyed, saved and bank charges against the sandbox: money moves once, and our state says what is true."""

from __future__ import annotations

import pytest

from control_plane.accounts.permissions import Role
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.lifecycle import AttemptState, PaymentState
from control_plane.virtual_terminal.wishes import Again, ChargeWish, Order
from protocols.money import Money
from tests.fixtures.virtual_terminal import Connected
from tests.support.play_account import DECLINED


def keyed(connected: Connected, number: str | None = None, **facts: object) -> ChargeWish:
    token = connected.sandbox.token() if number is None else connected.sandbox.token(number)
    return ChargeWish(order=Order(amount=Money(12_34, "USD"), **facts), method="keyed", token=token)


def test_a_typed_card_is_charged_once_and_stands_in_the_ledger(connected: Connected) -> None:
    desk = connected.parts.get(Desk)
    cashier = connected.make.caller(connected.merchant_id, Role.CASHIER)

    view = desk.charge(cashier, keyed(connected))

    assert view.state is PaymentState.PAID, view
    assert len(connected.sandbox.taken()) == 1
