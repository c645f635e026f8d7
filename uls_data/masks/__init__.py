"""Stage 4: the mask of one lesion in its VOI, and what can be said of it."""

from uls_data.masks.label import describe_label

__all__ = ["describe_label"]
