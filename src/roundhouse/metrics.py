"""Names of figures: slash-grouped, `STAGE/WHAT`, intervals end in `_low` and `_high`.

A domain's figure is `STAGE/WHAT/domain/DOMAIN`; what only the simulation knows begins with
`simulation/`.
"""

import re

_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def domain_part(domain: str) -> str:
    """A domain as part of a figure's name: what feedback says goes into URLs and tables here.

    >>> domain_part("law & order/EU")
    'law-order-EU'
    """
    return _NOT_IN_NAMES.sub("-", domain).strip("-.")[:60] or "none"
