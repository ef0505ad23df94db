"""The samples of all pages."""

from __future__ import annotations

from tests.web.pay_samples import PAY_SAMPLES
from tests.web.samples import SAMPLES

GALLERY = SAMPLES | PAY_SAMPLES
