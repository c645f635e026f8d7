"""Releases: deterministic archives with their licences, checked, and compared with each other."""

from uls_data.release.difference import Difference, release_diff
from uls_data.release.packing import ReleaseReport, release_build
from uls_data.release.verification import Verification, release_verify

__all__ = [
    "Difference",
    "ReleaseReport",
    "Verification",
    "release_build",
    "release_diff",
    "release_verify",
]
