"""What one member may do at the till. Pure: callers bring the figures of the day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from control_plane.till.errors import (
    AboveTheShops,
    AboveYourCharge,
    AboveYourDay,
    AboveYourRefund,
    CurrencyNotOffered,
    LimitReached,
    MethodNotYours,
)
from control_plane.till.values import Amounts, Channel, TillSettings
from protocols.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberLimits:
    """A member's own limits; without any figure there is none."""

    charge: Amounts = field(default_factory=dict)
    refund: Amounts = field(default_factory=dict)
    """A refund above it waits for approval."""
    day: Amounts = field(default_factory=dict)
    methods: frozenset[Channel] | None = None

    @property
    def are_set(self) -> bool:
        """Whether anything is limited."""
        return bool(self.charge or self.refund or self.day) or self.methods is not None

    def objection(
        self,
        settings: TillSettings,
        amount: Money,
        *,
        method: str,
        charged_today: Money | None = None,
    ) -> LimitReached | None:
        """Why this member may not charge this amount by this method; None when they may.

        ``charged_today``: what they charged (or have under way) since midnight in this currency; needed only when
        ``counts_the_day``.
        """
        if amount.currency not in settings.currencies:
            return CurrencyNotOffered(currency=amount.currency)
        return self.excess(
            settings.charge_limits, amount, method=method, charged_today=charged_today
        )

    def excess(
        self, most_here: Amounts, amount: Money, *, method: str, charged_today: Money | None = None
    ) -> LimitReached | None:
        """The same, where any currency is taken; ``most_here`` is what nobody here may charge more of at once."""
        if self.methods is not None and method not in self.methods:
            return MethodNotYours(method=method)
        most = limit_in(most_here, amount.currency)
        if most is not None and amount > most:
            return AboveTheShops(limit=most)
        most = limit_in(self.charge, amount.currency)
        if most is not None and amount > most:
            return AboveYourCharge(limit=most)
        most = limit_in(self.day, amount.currency)
        before = charged_today or Money(0, amount.currency)
        if most is not None and before + amount > most:
            left = max(most.minor - before.minor, 0)
            return AboveYourDay(limit=most, left=Money(left, amount.currency))
        return None

    @property
    def counts_the_day(self) -> bool:
        """Whether an objection needs to know what was charged today."""
        return bool(self.day)


NO_LIMITS = MemberLimits()


def needs_approval(settings: TillSettings, limits: MemberLimits, amount: Money) -> bool:
    """Whether a refund of this amount waits for somebody who approves it."""
    bounds = (
        limit_in(settings.refund_limits, amount.currency),
        limit_in(limits.refund, amount.currency),
    )
    return any(most is not None and amount > most for most in bounds)


def excess_on_reader(
    limits: MemberLimits, most_here: Amounts, amount: Money, *, may_approve: bool
) -> LimitReached | None:
    """Why this member may not give an amount back on a reader, where nobody can approve it in between.

    Above the shop's bound, only somebody who may approve refunds gives back there; above their own, nobody does.
    """
    own, shops = limit_in(limits.refund, amount.currency), limit_in(most_here, amount.currency)
    if own is not None and amount > own:
        return AboveYourRefund(limit=own)
    if shops is not None and amount > shops and not may_approve:
        return AboveYourRefund(limit=shops)
    return None


def limit_in(amounts: Mapping[str, int], currency: str) -> Money | None:
    """The bound in a currency; None: there is none at all. Nothing is let through by being in another currency."""
    if not amounts:
        return None
    return Money(amounts.get(currency, 0), currency)
