"""Merchants, locations, users, roles, sign-in and API keys."""
