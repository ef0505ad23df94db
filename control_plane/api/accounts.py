"""Who I am; users, locations and API keys of a merchant."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from zoneinfo import available_timezones

from fastapi import APIRouter, Path, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from control_plane.accounts import queries, service, sign_in
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission, Role
from control_plane.errors import Conflict, NotFound
from control_plane.http import sign_in as signing_in
from control_plane.http.dependencies import App, Db, ReadDb, WriterSlot
from control_plane.http.encoding import json_response
from control_plane.http.idempotency import OnceOnly
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import (
    PUBLIC,
    SIGNED_IN,
    address_of,
    clear_session_cookie,
    csrf_token,
    refuse_other_sites,
    requires,
    set_session_cookie,
    user_agent_of,
)

router = APIRouter(prefix="/v1", tags=["accounts"])

Name = Annotated[str, Field(min_length=1, max_length=200, examples=["Ada Martin"])]
Id = Annotated[str, Path(max_length=64)]
LocationIds = Annotated[
    list[str] | None,
    Field(description="Only these locations; null is every one.", max_length=1000),
]


class KeyHasNoAccount(Conflict):
    """An API key asked for something that only a person has."""

    code = "key_has_no_account"
    message = "An API key has no password and no sign-ins. Sign in as a user to do this."


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class _Password(BaseModel):
    # Blanks at either end of a password are part of it.
    model_config = ConfigDict(extra="forbid")


class MeOut(BaseModel):
    """The caller."""

    kind: str = Field(examples=["user"])
    id: str = Field(examples=["usr_01k9m3v6x2e8t4q7w5y1z0a2b3"])
    name: str = Field(examples=["Ada Martin"])
    email: str = Field(examples=["ada@example.com"])
    role: str = Field(examples=["owner"])
    merchant_id: str = Field(examples=["mer_01k9m3v6x2e8t4q7w5y1z0a2b3"])
    merchant_name: str = Field(examples=["Café Lumière"])
    currency: str = Field(examples=["EUR"])
    location_ids: list[str] | None
    permissions: list[str]
    #: For programs that use the cookie: send it as X-CSRF-Token.
    csrf_token: str | None


class SignInRequest(_Password):
    """A person's credentials."""

    email: str = Field(max_length=254, examples=["ada@example.com"])
    password: SecretStr = Field(max_length=1024, examples=["correct horse battery"])


class SignInOut(BaseModel):
    """A sign-in that began; the cookie came with it."""

    session_id: str
    csrf_token: str


class SessionOut(BaseModel):
    """A sign-in on one browser."""

    id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ip: str
    user_agent: str
    is_this: bool = Field(description="The one that sent this request.")


class PasswordChange(_Password):
    """The present and the new password."""

    current: SecretStr = Field(max_length=1024)
    new: SecretStr = Field(max_length=1024)


class UserOut(BaseModel):
    """A user of the merchant."""

    id: str = Field(examples=["usr_01k9m3v6x2e8t4q7w5y1z0a2b3"])
    email: str = Field(examples=["ada@example.com"])
    name: str = Field(examples=["Ada Martin"])
    role: Role
    location_ids: list[str] | None
    state: str = Field(description="active, invited or disabled", examples=["active"])
    created_at: datetime


class NewUser(_In):
    """Whom to invite, and as what."""

    email: str = Field(max_length=254, examples=["ada@example.com"])
    name: Name
    role: Role
    location_ids: LocationIds = None


class InvitedUser(UserOut):
    """The user, and the link to give them; it is shown only now."""

    invitation_url: str


class Rights(_In):
    """What a user may do, and where."""

    role: Role
    location_ids: LocationIds = None


class Acceptance(_Password):
    """The token of an invitation and the password that its owner chose."""

    token: SecretStr = Field(max_length=200)
    password: SecretStr = Field(max_length=1024)


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("name a time zone of the IANA list, such as Europe/Paris")
    return name


class NewLocation(_In):
    """A shop to add."""

    name: Name
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        default="UTC", examples=["Europe/Paris"]
    )


class LocationOut(BaseModel):
    """A shop."""

    id: str = Field(examples=["loc_01k9m3v6x2e8t4q7w5y1z0a2b3"])
    name: str = Field(examples=["Lyon"])
    time_zone: str = Field(examples=["Europe/Paris"])
    created_at: datetime
    archived_at: datetime | None


class NewApiKey(_In):
    """A key to make. It gets some of the permissions of who makes it."""

    name: Name
    permissions: list[Permission] = Field(min_length=1, max_length=100)
    location_ids: LocationIds = None
    expires_at: AwareDatetime | None = None


class ApiKeyOut(BaseModel):
    """A key, without what it is."""

    id: str
    name: str
    prefix: str = Field(examples=["omk_live_8sFq"])
    permissions: list[str]
    location_ids: list[str] | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewApiKeyOut(ApiKeyOut):
    """A key that was just made."""

    key: str = Field(description="Shown only now.", examples=["omk_live_…"])


@router.post("/sign-in", dependencies=[PUBLIC], response_model=SignInOut)
def start_session(request: Request, body: SignInRequest, parts: App, _: WriterSlot) -> Response:
    """Sign in: sets the cookie, and answers the token that every changing request must carry."""
    refuse_other_sites(request)
    session_id, token = signing_in.sign_in(
        parts,
        body.email,
        body.password.get_secret_value(),
        ip=address_of(request),
        user_agent=user_agent_of(request),
    )
    answer = SignInOut(session_id=session_id, csrf_token=csrf_token(parts, session_id))
    response = json_response(answer)
    set_session_cookie(response, parts, token.reveal())
    return response


@router.post("/sign-out", status_code=204)
def end_session(db: Db, parts: App, caller: Annotated[Caller, SIGNED_IN]) -> Response:
    """Sign out, and take the cookie away."""
    sign_in.sign_out(db, caller)
    response = Response(status_code=204)
    clear_session_cookie(response, parts)
    return response


@router.post("/invitations/accept", dependencies=[PUBLIC], status_code=204)
def accept_invitation(request: Request, db: Db, parts: App, body: Acceptance) -> None:
    """Choose the first password."""
    service.accept_invitation(
        db,
        body.token.get_secret_value(),
        parts.passwords.hash(body.password.get_secret_value()),
        ip=address_of(request),
        user_agent=user_agent_of(request),
    )


@router.get("/me")
def me(db: ReadDb, parts: App, caller: Annotated[Caller, SIGNED_IN]) -> MeOut:
    """Who sends this request, and what they may do."""
    merchant = queries.merchant(db, caller.merchant_id)
    places = caller.scope.location_ids
    return MeOut(
        kind=caller.kind,
        id=caller.id,
        name=caller.name,
        email=caller.email,
        role=caller.role,
        merchant_id=merchant.id,
        merchant_name=merchant.name,
        currency=merchant.currency,
        location_ids=None if places is None else sorted(places),
        permissions=sorted(caller.scope.permissions),
        csrf_token=csrf_token(parts, caller.session_id) if caller.session_id else None,
    )


@router.get("/me/sessions")
def my_sessions(
    db: ReadDb, parts: App, page: PageOf, caller: Annotated[Caller, SIGNED_IN]
) -> Page[SessionOut]:
    """My sign-ins that still count, newest first."""
    table = queries.SESSIONS
    statement = queries.open_sessions_of(caller.scope, caller.id, parts.clock.now())
    return page.read(
        db,
        statement,
        [table.c.created_at, table.c.id],
        lambda row: SessionOut(
            id=row.id,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            expires_at=row.expires_at,
            ip=row.ip,
            user_agent=row.user_agent,
            is_this=row.id == caller.session_id,
        ),
    )


@router.delete("/me/sessions/{session_id}", status_code=204)
def revoke_session(db: Db, session_id: Id, caller: Annotated[Caller, SIGNED_IN]) -> None:
    """End one of my sign-ins, such as the one on a lost phone."""
    sign_in.revoke_session(db, caller, session_id)


@router.post("/me/password", status_code=204)
def change_password(
    db: Db, parts: App, body: PasswordChange, caller: Annotated[Caller, SIGNED_IN]
) -> None:
    """Change my password; my other sign-ins end."""
    if caller.session_id is None:
        raise KeyHasNoAccount
    service.change_password(
        db,
        caller,
        parts.passwords,
        current=body.current.get_secret_value(),
        new=body.new.get_secret_value(),
    )


@router.get("/users")
def users(
    db: ReadDb, page: PageOf, caller: Annotated[Caller, requires(Permission.USER_VIEW)]
) -> Page[UserOut]:
    """Users of the merchant, newest first."""
    table = queries.USERS
    order = [table.c.created_at, table.c.id]
    return page.read(db, queries.users_of(caller.scope), order, _user_out)


@router.post("/users", status_code=201, response_model=InvitedUser)
def invite_user(
    db: Db,
    parts: App,
    once: OnceOnly,
    body: NewUser,
    caller: Annotated[Caller, requires(Permission.USER_MANAGE)],
) -> Response:
    """Invite somebody; give them the link in the answer."""

    def invite() -> InvitedUser:
        user_id, token = service.invite_user(
            db,
            caller,
            email=body.email,
            name=body.name,
            role=body.role,
            location_ids=body.location_ids,
            valid_for=parts.settings.sign_in.invitation_life,
        )
        link = f"{parts.settings.base_url}/invitation#{token.reveal()}"
        return InvitedUser(**_user(db, caller, user_id).model_dump(), invitation_url=link)

    return once.answer(db, caller, invite)


@router.get("/users/{user_id}")
def user(
    db: ReadDb, user_id: Id, caller: Annotated[Caller, requires(Permission.USER_VIEW)]
) -> UserOut:
    """One user."""
    return _user(db, caller, user_id)


@router.put("/users/{user_id}/rights")
def change_rights(
    db: Db, user_id: Id, body: Rights, caller: Annotated[Caller, requires(Permission.USER_MANAGE)]
) -> UserOut:
    """Give a user another role or other locations."""
    service.change_rights(db, caller, user_id, body.role, body.location_ids)
    return _user(db, caller, user_id)


@router.post("/users/{user_id}/disable")
def disable_user(
    db: Db, user_id: Id, caller: Annotated[Caller, requires(Permission.USER_MANAGE)]
) -> UserOut:
    """Keep a user from signing in, and end their sign-ins."""
    service.set_enabled(db, caller, user_id, enabled=False)
    return _user(db, caller, user_id)


@router.post("/users/{user_id}/enable")
def enable_user(
    db: Db, user_id: Id, caller: Annotated[Caller, requires(Permission.USER_MANAGE)]
) -> UserOut:
    """Let a user sign in again."""
    service.set_enabled(db, caller, user_id, enabled=True)
    return _user(db, caller, user_id)


@router.get("/locations")
def locations(
    db: ReadDb, page: PageOf, caller: Annotated[Caller, requires(Permission.LOCATION_VIEW)]
) -> Page[LocationOut]:
    """Locations within the caller's reach, by name."""
    table = queries.LOCATIONS
    statement = queries.locations_of(caller.scope)
    return page.read(
        db, statement, [table.c.name, table.c.id], _location_out, descending=False
    )  # fmt: skip


@router.post("/locations", status_code=201, response_model=LocationOut)
def create_location(
    db: Db,
    once: OnceOnly,
    body: NewLocation,
    caller: Annotated[Caller, requires(Permission.LOCATION_MANAGE)],
) -> Response:
    """Add a shop. Needs access to every location."""

    def create() -> LocationOut:
        location_id = service.add_location(db, caller, body.name, time_zone=body.time_zone)
        return _location(db, caller, location_id)

    return once.answer(db, caller, create)


@router.get("/locations/{location_id}")
def location(
    db: ReadDb, location_id: Id, caller: Annotated[Caller, requires(Permission.LOCATION_VIEW)]
) -> LocationOut:
    """One location."""
    return _location(db, caller, location_id)


@router.put("/locations/{location_id}")
def update_location(
    db: Db,
    location_id: Id,
    body: NewLocation,
    caller: Annotated[Caller, requires(Permission.LOCATION_MANAGE)],
) -> LocationOut:
    """Rename a shop, or move it to another time zone."""
    service.update_location(db, caller, location_id, name=body.name, time_zone=body.time_zone)
    return _location(db, caller, location_id)


@router.get("/api-keys")
def api_keys(
    db: ReadDb, page: PageOf, caller: Annotated[Caller, requires(Permission.APIKEY_VIEW)]
) -> Page[ApiKeyOut]:
    """API keys, newest first; revoked ones too."""
    table = queries.API_KEYS
    order = [table.c.created_at, table.c.id]
    return page.read(db, queries.api_keys_of(caller.scope), order, _api_key_out)


@router.post("/api-keys", status_code=201, response_model=NewApiKeyOut)
def create_api_key(
    db: Db,
    parts: App,
    once: OnceOnly,
    body: NewApiKey,
    caller: Annotated[Caller, requires(Permission.APIKEY_MANAGE)],
) -> Response:
    """Make a key. It is in the answer, and nowhere else."""

    def create() -> NewApiKeyOut:
        key_id, token = service.create_api_key(
            db,
            caller,
            name=body.name,
            permissions=body.permissions,
            location_ids=body.location_ids,
            expires_at=body.expires_at,
            mode=parts.settings.mode,
        )
        return NewApiKeyOut(**_api_key(db, caller, key_id).model_dump(), key=token.reveal())

    return once.answer(db, caller, create)


@router.post("/api-keys/{key_id}/revoke")
def revoke_api_key(
    db: Db, key_id: Id, caller: Annotated[Caller, requires(Permission.APIKEY_MANAGE)]
) -> ApiKeyOut:
    """Let a key no longer work."""
    service.revoke_api_key(db, caller, key_id)
    return _api_key(db, caller, key_id)


def _user(db: Db, caller: Caller, user_id: str) -> UserOut:
    row = queries.user_of(db, caller.scope, user_id)
    if row is None:
        raise NotFound("user", user_id)
    return _user_out(row)


def _user_out(row: Any) -> UserOut:
    state = "active" if row.has_password else "invited"
    return UserOut(
        id=row.id,
        email=row.email,
        name=row.name,
        role=row.role,
        location_ids=row.location_ids,
        state="disabled" if row.disabled_at is not None else state,
        created_at=row.created_at,
    )


def _location(db: Db, caller: Caller, location_id: str) -> LocationOut:
    row = queries.location_of(db, caller.scope, location_id)
    if row is None:
        raise NotFound("location", location_id)
    return _location_out(row)


def _location_out(row: Any) -> LocationOut:
    return LocationOut(
        id=row.id,
        name=row.name,
        time_zone=row.time_zone,
        created_at=row.created_at,
        archived_at=row.archived_at,
    )


def _api_key(db: Db, caller: Caller, key_id: str) -> ApiKeyOut:
    row = queries.api_key_of(db, caller.scope, key_id)
    if row is None:
        raise NotFound("API key", key_id)
    return _api_key_out(row)


def _api_key_out(row: Any) -> ApiKeyOut:
    return ApiKeyOut(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        permissions=row.permissions,
        location_ids=row.location_ids,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
