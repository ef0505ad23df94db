"""A reader's own totals as the cloud is told them: one report for each currency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.cloud.events import ReaderTotals

if TYPE_CHECKING:
    from protocols.readers.protocol import Totals


def reports_of(reader_id: str, totals: Totals, *, closed: bool) -> tuple[ReaderTotals, ...]:
    """`closed`: the reader closed its day with them."""
    currencies = {total.sum.currency for total in totals.per_scheme}
    if totals.total is not None:
        currencies.add(totals.total.currency)
    return tuple(
        ReaderTotals(
            reader_id=reader_id,
            closed=closed,
            currency=currency,
            per_scheme=[
                (total.scheme, total.count, total.sum.minor)
                for total in totals.per_scheme
                if total.sum.currency == currency
            ],
            receipt_from=totals.receipt_from,
            receipt_to=totals.receipt_to,
        )
        for currency in sorted(currencies)
    )
