"""How a merchant's till works: fields, items, presets, taxes, tips, limits and policies."""
