"""What can be refused about accounts."""

from __future__ import annotations

from control_plane.errors import Conflict, Forbidden, NotSignedIn, RequestRefused, TooManyRequests


class SignInRefused(NotSignedIn):
    """The address and the password do not belong together; which of the two is not said."""

    code = "sign_in_refused"
    message = "The e-mail address and the password do not match. Check both and try again."


class SignInBlocked(TooManyRequests):
    """Too many attempts for this account or from this address."""

    code = "sign_in_blocked"
    message = "Too many attempts to sign in. Try again in {retry_after_s} seconds."


class CsrfRefused(Forbidden):
    """A form or script of another site, or a page from before the last sign-in."""

    code = "csrf_refused"
    message = "This page is from an earlier sign-in. Reload it and try again."


class EmailTaken(Conflict):
    """There is a user with that address."""

    code = "email_taken"
    message = "{email} already signs in here. Change their rights, or use another address."


class NameTaken(Conflict):
    """Names are unique within a merchant."""

    code = "name_taken"
    message = "There is already one called {name}. Choose another name."


class LastOwner(Conflict):
    """A merchant keeps at least one owner who can sign in."""

    code = "last_owner"
    message = "{name} is the last owner. Name another owner first."


class RightsNotYours(Forbidden):
    """Nobody can give away more than they have."""

    code = "rights_not_yours"
    message = "You cannot give rights that you do not have: {permissions}. Ask an owner."


class InvitationSpent(RequestRefused):
    """An invitation works once, and not for ever."""

    code = "invitation_spent"
    message = "This invitation was used or has expired. Ask for a new one."
