"""What can be refused about customers and what they let us keep."""

from __future__ import annotations

from control_plane.errors import Conflict, RequestRefused


class NameMissing(RequestRefused):
    """A customer has a name, or is a company."""

    code = "customer_name_missing"
    message = "Write a name or a company."


class EmailNotRecognised(RequestRefused):
    """What was written cannot be an address."""

    code = "customer_email_not_recognised"
    message = "Write the e-mail address like name@example.com."


class PhoneNotRecognised(RequestRefused):
    """What was written cannot be a telephone number."""

    code = "customer_phone_not_recognised"
    message = "Write the telephone number with its digits, such as +33 6 12 34 56 78."


class CountryNotRecognised(RequestRefused):
    """A country is two letters (ISO 3166)."""

    code = "customer_country_not_recognised"
    message = "Write the country with its two letters, such as FR."


class CustomerArchived(Conflict):
    """The customer was put away."""

    code = "customer_archived"
    message = "{name} is archived. Bring the customer back first."


class ConsentMissing(RequestRefused):
    """Nothing is kept without the customer's word, and without the words that were said."""

    code = "consent_missing"
    message = "Read the consent to the customer, and say how it was given."


class MethodNotUsable(Conflict):
    """A saved method that was removed, failed, or waits for its confirmation."""

    code = "saved_method_not_usable"
    message = (
        "{method} cannot be charged any more. Choose another way to pay, or ask for a new one."
    )


class MethodNotConfirmed(Conflict):
    """A bank account whose owner has not confirmed it yet."""

    code = "saved_method_not_confirmed"
    message = "{method} is still being confirmed. Charge it once the bank account is confirmed."
