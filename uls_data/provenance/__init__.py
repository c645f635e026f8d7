"""Where a VOI comes from: its chain of hashes, walked again if asked, and what changed it."""

from uls_data.provenance.explanation import Explanation, explain
from uls_data.provenance.history import Event, blame

__all__ = ["Event", "Explanation", "blame", "explain"]
