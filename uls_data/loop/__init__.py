"""Stage 8: the model in the loop, over and over."""

from uls_data.loop.selftraining import LoopReport, Round, selftrain

__all__ = ["LoopReport", "Round", "selftrain"]
