"""Profiles: what the paper says, and what the published archive did instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Named switches; every one off is the paper, done right.

    Attributes
    ----------
    name : str
    click_from_voxel_count : bool
        The click is a function of the lesion's voxel count alone (one seed for
        every lesion), instead of a draw of its own.
    pad_with_scan_minimum : bool
        Padding holds the minimum of the whole scan, which real voxels hold too,
        instead of the VOI's minimum minus one.
    """

    name: str
    click_from_voxel_count: bool = False
    pad_with_scan_minimum: bool = False


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("paper"),
        Profile(
            "published",
            click_from_voxel_count=True,
            pad_with_scan_minimum=True,
        ),
    )
}
