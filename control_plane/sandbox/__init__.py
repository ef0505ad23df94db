"""A Stripe-compatible server for demos and tests, strict where Stripe is strict. It never talks to Stripe.

Where things are, for whoever adds endpoints:

- ``create_sandbox(SandboxSettings(...)) -> FastAPI`` (``app.py``); ``app.state.sandbox`` is a ``SandboxApi`` with
  ``.sandbox`` (the engine), ``.answer(Request)`` (a call without socket or waiting) and ``.pump(post=None)`` (run due tasks,
  send due webhooks). Modules of this package are found by themselves: one that has ``routes`` (``routing.Routes``) adds
  API endpoints, tasks and expansions, one that has ``router`` (a FastAPI APIRouter) adds pages and control calls. A page
  reaches the sandbox by ``request.app.state.sandbox``.
- ``routing.Routes``: ``@routes.get/post/delete(path, SomeParams)`` takes the class of ``stripe.params`` as the schema
  (None: only ``expand``). Options: ``publishable=True`` (a ``pk_test_`` key may call it; the handler checks the client
  secret), ``gates={"payment_method_options[card][moto]": lambda settings: settings.moto_enabled}``,
  ``removed={"payment_method_types": (code, message)}``, ``extra={"process_config[moto]": bool}`` (parameters, also nested,
  that the SDK does not declare). Handler: ``(call, *ids_in_path) -> Json``; ``call.params`` has what was sent, None for
  "unset"; ``call.page(kind, customer=...)`` is the whole list answer.
- ``engine.Sandbox``: ``create(kind, prefix, **fields)`` (all fields of the SDK's class, blanks for the others),
  ``fetch(kind, id)`` (404), ``named(kind, id, param)`` (400), ``save(obj)``, ``emit("refund.updated", obj, previous)``,
  ``now()``, ``after(seconds, "task name", id)`` with ``@routes.task("task name")``, ``store.find(kind, field=value)``,
  ``settings``, ``faults``, ``put_forward(seconds)``. Keys that start with ``_`` are private memory in an object.
- ``shapes.make(kind, **fields)``, ``shapes.part(stripe.Charge.Outcome, **fields)``: blanks of the SDK's classes.
- ``errors.ApiError(message, status=, type=, code=, param=, keeps=)``: a refusal rolls back what the endpoint did, unless
  ``keeps`` (a decline).
- ``faults.Faults``: ``sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, on="POST /v1/payment_intents*", times=1,
  delay_s=0))``; webhook faults match the event's type. ``webhooks.resend/deliveries/deliver_due``.
- ``payment_flow``: what taking money is made of, for card readers, hosted pages and the browser half.
"""
