"""Sub-commands of ``omnitill``: the module ``audit`` is ``omnitill audit``, found by ``cli``.

Each has ``register(subparsers)``, which adds one parser with an Example section and sets ``run`` to a function
of the parsed arguments that returns the exit code.
"""
