"""The samples of all pages."""

from __future__ import annotations

from dataclasses import replace

from tests.web.customer_samples import CUSTOMER_SAMPLES
from tests.web.pay_samples import PAY_SAMPLES
from tests.web.processor_samples import CLOUD, PROCESSOR_SAMPLES
from tests.web.samples import SAMPLES
from tests.web.simulator_samples import SIMULATOR_SAMPLES
from tests.web.till_samples import TILL_SAMPLES

GALLERY = (
    SAMPLES | PAY_SAMPLES | TILL_SAMPLES | CUSTOMER_SAMPLES | PROCESSOR_SAMPLES | SIMULATOR_SAMPLES
)
for _name, _cloud in (("readers", CLOUD), ("readers-none", [])):
    GALLERY[_name] = replace(GALLERY[_name], context={**GALLERY[_name].context, "cloud": _cloud})
