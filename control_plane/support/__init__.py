"""What a support person asks of a box from afar: its log, live or as a bundle."""
