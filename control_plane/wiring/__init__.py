"""How features become part of the program: each module here has ``wire(parts)``, found by ``app.build``.

There, and only there, an adapter is chosen by the settings, a handler is registered for a domain event, and a
service is added to a role.
"""
