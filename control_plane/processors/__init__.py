"""Adapters of card processors; each keeps its SDK to itself."""
