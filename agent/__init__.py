"""The in-store process: drives card readers and keeps what happened until the cloud has it."""
