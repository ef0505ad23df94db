"""Card readers that are not there: they behave, and misbehave, on cue."""
