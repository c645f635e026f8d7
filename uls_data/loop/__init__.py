"""Stage 8: the model in the loop, over and over."""

from uls_data.loop.rounds import LoopReport, Round
from uls_data.loop.selftraining import selftrain

__all__ = ["LoopReport", "Round", "selftrain"]
