"""Names of figures."""

from roundhouse.metrics import domain_part


def test_domains_become_safe_parts_of_metric_names() -> None:
    assert domain_part("legal review") == "legal-review"
    assert domain_part("../../etc") == "etc"
    assert domain_part("<b>\u202e") == "b"
    assert domain_part("") == domain_part("?!") == "none"
    assert domain_part("\u0432\u0440\u0430\u0447") == "\u0432\u0440\u0430\u0447"
    assert len(domain_part("x" * 500)) == 60
