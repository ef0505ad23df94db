"""The pages that people see: HTML first, htmx for live parts."""
