"""Scores of masks against masks that people drew."""

from uls_data.scoring.evaluation import Evaluation, evaluate_2d

__all__ = ["Evaluation", "evaluate_2d"]
