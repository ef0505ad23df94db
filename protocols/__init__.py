"""What travels on wires, as pure values: no I/O, no clock, no logging."""
