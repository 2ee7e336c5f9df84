"""Names of figures."""

from roundhouse.metrics import domain_part


def test_domains_become_safe_parts_of_metric_names() -> None:
    assert domain_part("legal") == "legal"
    assert domain_part("legal review").startswith("legal-review-")
    assert domain_part("../../etc").startswith("etc-")
    assert domain_part("<b>\u202e").startswith("b-")
    assert domain_part("") == "none"
    assert domain_part("\u0432\u0440\u0430\u0447") == "\u0432\u0440\u0430\u0447"
    assert len(domain_part("x" * 500)) == 60


def test_no_two_domains_share_a_name_and_a_part_is_its_own() -> None:
    names = [
        "",
        "none",
        "?!",
        "!?",
        "a b",
        "a-b",
        "a/b",
        "a  b",
        "a.",
        ".a",
        "a",
        "x" * 60,
        "x" * 500,
    ]
    parts = [domain_part(name) for name in [*names, "x" * 501]]
    assert len(set(parts)) == len(parts)
    assert [domain_part(part) for part in parts[1:]] == parts[1:]
