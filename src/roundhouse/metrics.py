"""Names of figures: slash-grouped, `STAGE/WHAT`, intervals end in `_low` and `_high`.

A domain's figure is `STAGE/WHAT/domain/DOMAIN`, with `region` and `guideline` alike, and there the
ends of intervals stand before that: `STAGE/WHAT_low/domain/DOMAIN`. What only the simulation knows
begins with `simulation/`.
"""

import re

_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def domain_part(domain: str) -> str:
    """A domain as part of a figure's name: what feedback says goes into URLs and tables here.

    >>> domain_part("law & order/EU")
    'law-order-EU'
    """
    return _NOT_IN_NAMES.sub("-", domain).strip("-.")[:60] or "none"


def of_a_part(name: str) -> bool:
    """Whether a figure is that of one domain, region or guideline: too many for a short table.

    >>> of_a_part("raters/agreement_low/region/IN"), of_a_part("raters/agreement_low")
    (True, False)
    """
    return any(f"/{axis}/" in name for axis in ("domain", "region", "guideline"))
