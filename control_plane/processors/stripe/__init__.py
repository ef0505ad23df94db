"""Stripe: the only code that imports its SDK. ``adapter`` has the port, ``client`` the way there."""
