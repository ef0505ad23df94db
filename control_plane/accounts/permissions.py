"""What a caller may do: named permissions, and roles as named sets of them.

A new permission is one member here, in the roles that have it. Every route declares one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """A thing that somebody may do."""

    PAYMENT_SESSION_CREATE = "payment:session:create"
    PAYMENT_SESSION_CANCEL = "payment:session:cancel"
    PAYMENT_SESSION_VIEW = "payment:session:view"
    PAYMENT_REFUND_CREATE = "payment:refund:create"
    PAYMENT_REFUND_APPROVE = "payment:refund:approve"
    PAYMENT_CHARGE_CREATE = "payment:charge:create"
    """Take money without a card on a reader: keyed, saved, bank debit, link."""
    PAYMENT_CHARGE_MANAGE = "payment:charge:manage"
    """Capture, cancel and raise what was authorised."""
    PAYMENT_VIEW = "payment:view"
    PROCESSOR_MANAGE = "processor:account:manage"
    """Connect the account with the card processor, and let it go."""
    DISPUTE_VIEW = "dispute:view"
    CUSTOMER_VIEW = "customer:view"
    CUSTOMER_MANAGE = "customer:manage"
    TRANSACTION_VIEW = "transaction:view"
    TRANSACTION_EXPORT = "transaction:export"
    READER_VIEW = "reader:view"
    READER_MANAGE = "reader:manage"
    DEVICE_VIEW = "device:view"
    DEVICE_ENROLL = "device:enroll"
    DEVICE_MANAGE = "device:manage"
    LOCATION_VIEW = "location:view"
    LOCATION_MANAGE = "location:manage"
    USER_VIEW = "user:view"
    USER_MANAGE = "user:manage"
    APIKEY_VIEW = "apikey:view"
    APIKEY_MANAGE = "apikey:manage"
    AUDIT_VIEW = "audit:view"
    REPORT_VIEW = "report:view"
    JOB_VIEW = "job:view"
    JOB_MANAGE = "job:manage"
    SETTINGS_MANAGE = "settings:manage"


class Role(StrEnum):
    """A set of permissions that has a name."""

    CASHIER = "cashier"
    MANAGER = "manager"
    IT = "it"
    ACCOUNTANT = "accountant"
    OWNER = "owner"


_P = Permission

_CASHIER: Final = frozenset(
    {
        _P.PAYMENT_SESSION_CREATE,
        _P.PAYMENT_SESSION_CANCEL,
        _P.PAYMENT_SESSION_VIEW,
        _P.PAYMENT_CHARGE_CREATE,
        _P.PAYMENT_VIEW,
        _P.CUSTOMER_VIEW,
        _P.CUSTOMER_MANAGE,
        _P.TRANSACTION_VIEW,
        _P.READER_VIEW,
        _P.LOCATION_VIEW,
    }
)
ROLES: Final[dict[Role, frozenset[Permission]]] = {
    Role.CASHIER: _CASHIER,
    Role.MANAGER: _CASHIER
    | {
        _P.PAYMENT_REFUND_CREATE,
        _P.PAYMENT_REFUND_APPROVE,
        _P.PAYMENT_CHARGE_MANAGE,
        _P.DISPUTE_VIEW,
        _P.SETTINGS_MANAGE,
        _P.TRANSACTION_EXPORT,
        _P.READER_MANAGE,
        _P.DEVICE_VIEW,
        _P.USER_VIEW,
        _P.USER_MANAGE,
        _P.AUDIT_VIEW,
        _P.REPORT_VIEW,
    },
    Role.IT: frozenset(
        {
            _P.PAYMENT_SESSION_VIEW,
            _P.READER_VIEW,
            _P.READER_MANAGE,
            _P.DEVICE_VIEW,
            _P.DEVICE_ENROLL,
            _P.DEVICE_MANAGE,
            _P.LOCATION_VIEW,
            _P.LOCATION_MANAGE,
            _P.APIKEY_VIEW,
            _P.APIKEY_MANAGE,
            _P.AUDIT_VIEW,
            _P.JOB_VIEW,
            _P.JOB_MANAGE,
        }
    ),
    Role.ACCOUNTANT: frozenset(
        {
            _P.PAYMENT_SESSION_VIEW,
            _P.PAYMENT_VIEW,
            _P.DISPUTE_VIEW,
            _P.CUSTOMER_VIEW,
            _P.TRANSACTION_VIEW,
            _P.TRANSACTION_EXPORT,
            _P.LOCATION_VIEW,
            _P.AUDIT_VIEW,
            _P.REPORT_VIEW,
        }
    ),
    Role.OWNER: frozenset(Permission),
}
