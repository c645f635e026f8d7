"""What is sent to workers: it loads what decodes, measures and draws where that is done.

The process that hands out cases does without, and starts its workers sooner.
"""

from __future__ import annotations

from pathlib import Path

from uls_data.factory.options import Built, Options, Task
from uls_data.outcome import Reason


def build_case(task: Task, options: Options, staging: Path) -> Built:
    """Build one case; see `uls_data.factory.case.build_case`."""
    from uls_data.factory import case

    return case.build_case(task, options, staging)


def lost_case(task: Task, detail: str, options: Options, reason: Reason) -> Built:
    """Stand in for a case that was stopped; see `uls_data.factory.case.lost_case`."""
    from uls_data.factory import case

    return case.lost_case(task, detail, options, reason)
