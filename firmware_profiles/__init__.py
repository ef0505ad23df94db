"""What each card reader model is and can do, as data."""
