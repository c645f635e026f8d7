"""Which pseudo-masks are good enough to train on: a rule over the manifest's columns."""

from uls_data.filtering.rule import COMBINED, PAPER, Clause, combined_rule, paper_rule
from uls_data.filtering.selection import FilterReport, filter

__all__ = [
    "COMBINED",
    "PAPER",
    "Clause",
    "FilterReport",
    "combined_rule",
    "filter",
    "paper_rule",
]
