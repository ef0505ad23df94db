"""The REST API: each module here has a ``router`` (fastapi.APIRouter), found by ``app.create_app``."""
