"""A Stripe-compatible server for demos and tests, strict where Stripe is strict. It never talks to Stripe.

Where things are, for whoever adds endpoints:

- ``create_sandbox(SandboxSettings(...)) -> FastAPI`` (``app.py``); ``app.state.sandbox`` is a ``SandboxApi``
  with ``.sandbox`` (the engine), ``.answer(Request)`` (a call without socket or waiting) and
  ``.pump(post=None)`` (run due tasks, send due webhooks). Modules of this package are found by themselves: one
  that has ``routes`` (``routing.Routes``) adds API endpoints, tasks and expansions, one that has ``router`` (a
  FastAPI APIRouter) adds pages and control calls. A page reaches the sandbox by ``request.app.state.sandbox``.
- ``routing.Routes``: ``@routes.get/post/delete(path, SomeParams)`` takes the class of ``stripe.params`` as the
  schema (None: only ``expand``). Options: ``publishable=True`` (a ``pk_test_`` key may call it; the handler
  checks the client secret), ``gates={"payment_method_options[card][moto]": lambda settings:
  settings.moto_enabled}``, ``removed={"payment_method_types": (code, message)}``,
  ``extra={"process_config[moto]": bool}`` (parameters, also nested, that the SDK does not declare). Handler:
  ``(call, *ids_in_path) -> Json``; ``call.params`` has what was sent, None for "unset"; ``call.page(kind,
  customer=...)`` is the whole list answer.
- ``engine.Sandbox``: ``create(kind, prefix, **fields)`` (all fields of the SDK's class, blanks for the others),
  ``fetch(kind, id)`` (404), ``named(kind, id, param)`` (400), ``save(obj)``, ``emit("refund.updated", obj,
  previous)``, ``now()``, ``after(seconds, "task name", id)`` with ``@routes.task("task name")``,
  ``store.find(kind, field=value)``, ``settings``, ``faults``, ``put_forward(seconds)``. Keys that start with
  ``_`` are private memory in an object.
- ``shapes.make(kind, **fields)``, ``shapes.part(stripe.Charge.Outcome, **fields)``: blanks of the SDK's
  classes.
- ``errors.ApiError(message, status=, type=, code=, param=, keeps=)``: a refusal rolls back what the endpoint
  did, unless ``keeps`` (a decline).
- ``faults.Faults``: ``sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, on="POST /v1/payment_intents*",
  times=1, delay_s=0))``; webhook faults match the event's type. ``webhooks.resend/deliveries/deliver_due``.
- Inside ``with sandbox.transaction():`` pages and readers call: ``payment_flow.settle/decline`` (a reader's
  card), ``payment_flow.complete_authentication(sandbox, intent_id, passed=)`` (the page
  ``/_hosted/authenticate/{intent}``), ``checkout.session_of_link(sandbox, link_id)``
  (``/_hosted/links/{link}``), ``checkout.pay_session(sandbox, session_id, confirmation_token=, email=,
  custom_fields=)`` and ``checkout.finish_session`` (``/_hosted/checkout/{session}``, also the address that 3-D
  Secure returns to), ``disputes.dispute(sandbox, charge, reason=)``. Other addresses that objects name:
  ``/_hosted/receipts/{charge}``, ``/_hosted/microdeposits/{intent}``, ``/_hosted/mandates/{reference}``. A
  refusal with ``keeps`` is a decline: catch it inside the transaction, else what was written down is lost.
- Beside the API: ``control.py`` (``/_sandbox/…``: faults, the clock, readers' customers), ``hosted.py`` (the pages
  that Stripe hosts), ``browser/`` (``/sandbox-stripe.js`` and the iframes with the fields).
"""
