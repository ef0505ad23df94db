"""End of day: a reader's own totals, held against the ledger; every difference is listed with its transaction."""
