"""The cloud process: fleet, payments, ledger, API and web pages."""
