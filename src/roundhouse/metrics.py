"""Names of figures: slash-grouped, `STAGE/WHAT`, intervals end in `_low` and `_high`.

A domain's figure is `STAGE/WHAT/domain/DOMAIN`, with `region` and `guideline` alike, and there the
ends of intervals stand before that: `STAGE/WHAT_low/domain/DOMAIN`. What only the simulation knows
begins with `simulation/`.
"""

import hashlib
import re

#: Signs of a domain's part at most, and of its digest.
_LENGTH, _DIGEST = 60, 6
#: Part of what has no domain.
_NONE = "none"
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def domain_part(domain: str) -> str:
    """A domain as part of a figure's name: what feedback says goes into URLs and tables here.

    A name that has to be changed gets the beginning of its SHA-256, so that no two share a figure,
    and none loses its own where another comes in.

    >>> domain_part("legal"), domain_part("law & order/EU"), domain_part("")
    ('legal', 'law-order-EU-f2d36b', 'none')
    """
    plain = _NOT_IN_NAMES.sub("-", domain).strip("-.")[:_LENGTH]
    if not domain:
        return _NONE
    if plain == domain != _NONE:
        return plain
    digest = hashlib.sha256(domain.encode()).hexdigest()[:_DIGEST]
    return f"{plain[: _LENGTH - _DIGEST - 1] or _NONE}-{digest}"


def of_a_part(name: str) -> bool:
    """Whether a figure is that of one domain, region or guideline: too many for a short table.

    >>> of_a_part("raters/agreement_low/region/IN"), of_a_part("raters/agreement_low")
    (True, False)
    """
    return any(f"/{axis}/" in name for axis in ("domain", "region", "guideline"))
