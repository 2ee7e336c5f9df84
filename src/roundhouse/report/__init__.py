"""What the terminal shows: a round, all rounds, raters, lineage. Plain data in, text out.

Names out of feedback (raters, domains, checks) are shown as they are and never read as markup.
"""

from roundhouse.report.lineage import (
    audit_text,
    diff_text,
    verification_text,
)
from roundhouse.report.planning import plan_text
from roundhouse.report.rater_page import rater_page
from roundhouse.report.raters import raters_table
from roundhouse.report.round import round_lines, round_table, rounds_table, show
from roundhouse.report.traces import file_text, rater_text, row_text

__all__ = [
    "audit_text",
    "diff_text",
    "file_text",
    "plan_text",
    "rater_page",
    "rater_text",
    "raters_table",
    "round_lines",
    "round_table",
    "rounds_table",
    "row_text",
    "show",
    "verification_text",
]
