"""What every HTTP route stands on, whether it answers JSON or HTML: callers, transactions, problems."""
