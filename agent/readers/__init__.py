"""Readers: a transport, a protocol machine and a profile, kept in conversation."""
