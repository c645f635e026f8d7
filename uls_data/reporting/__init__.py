"""One page about a build: what was built, how good it is, and what to look at first."""

from uls_data.reporting.making import Report, report

__all__ = ["Report", "report"]
