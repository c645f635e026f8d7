"""Masks to lesions, and the click in each."""

from uls_data.lesions.click import click_of, click_source
from uls_data.lesions.instances import Lesion, find_lesions
from uls_data.lesions.shared_voxels import flag_shared

__all__ = ["Lesion", "click_of", "click_source", "find_lesions", "flag_shared"]
