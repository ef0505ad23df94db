"""How a merchant's till is set up: own fields, items, presets, taxes, tips, policies, and what each member may do.

``queries.settings_of`` and ``queries.catalogue_of`` give frozen values. ``totals``, ``fields`` and ``limits`` decide
with them and read nothing.
"""
