"""What shops set on their readers, and its way to the devices."""
