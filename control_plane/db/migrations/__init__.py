"""The one history of the schema, for both databases."""
