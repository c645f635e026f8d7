"""Leaks between training and held-out data: what goes by two names, on both sides of the split."""

from uls_data.auditing.checks import CHECKS, Match
from uls_data.auditing.inspection import AuditReport, audit

__all__ = ["CHECKS", "AuditReport", "Match", "audit"]
