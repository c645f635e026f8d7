"""Stage 2: masks to lesion instances, their size, and the click."""

from uls_data.lesions.click import click_of
from uls_data.lesions.instances import Lesion, find_lesions
from uls_data.lesions.size import below_minimum

__all__ = ["Lesion", "below_minimum", "click_of", "find_lesions"]
