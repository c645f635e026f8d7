"""Profiles: what the paper says, and what the published archive did instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Named switches; every one off is the paper, done right.

    Attributes
    ----------
    name : str
    first_lesion_only : bool
        Of several measurements on one key slice, the first row alone.
    keep_noisy : bool
        Measurements that the source doubts are kept.
    minimum_slices_above : int
        A key slice with fewer slices of higher number (towards the feet) is left out.
    symmetric_slices : bool
        Volume of a weak lesion: as many slices above as below the key slice.
    click_from_mask : bool
        The click of a weak lesion is drawn from its pseudo-mask, not from the quadrilateral of
        its end points.
    published_grabcut : bool
        The 2D engine with the published one's faults (`uls_data.pseudomask.published`).
    click_from_voxel_count : bool
        The click is a function of the lesion's voxel count alone (one seed for
        every lesion), instead of a draw of its own.
    pad_with_scan_minimum : bool
        Padding holds the minimum of the whole scan, which real voxels hold too,
        instead of the VOI's minimum minus one.
    """

    name: str
    first_lesion_only: bool = False
    keep_noisy: bool = False
    minimum_slices_above: int = 0
    symmetric_slices: bool = False
    click_from_mask: bool = False
    published_grabcut: bool = False
    click_from_voxel_count: bool = False
    pad_with_scan_minimum: bool = False


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("paper"),
        Profile(
            "published",
            first_lesion_only=True,
            keep_noisy=True,
            minimum_slices_above=3,
            symmetric_slices=True,
            click_from_mask=True,
            published_grabcut=True,
            click_from_voxel_count=True,
            pad_with_scan_minimum=True,
        ),
    )
}
