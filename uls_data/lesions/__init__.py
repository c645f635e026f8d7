"""Masks to lesions, and the click in each."""

from uls_data.lesions.click import click_of
from uls_data.lesions.instances import Lesion, find_lesions
from uls_data.lesions.shared_voxels import flag_shared

__all__ = ["Lesion", "click_of", "find_lesions", "flag_shared"]
