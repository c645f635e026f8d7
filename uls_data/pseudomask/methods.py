"""The 2D methods by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from uls_data.pseudomask.key_slice import KeySlice, PseudoMask

if TYPE_CHECKING:
    from uls_data.pseudomask.quality import Quality

# Loaded when first used: OpenCV and the jury's weights cost time that most commands need not pay.
_MODULES = {
    "quadrilateral": "prior",
    "ellipse": "prior",
    "quarter_ellipses": "prior",
    "grabcut": "grabcut",
    "published": "published",
    "jury": "jury",
}
# The methods in 3D (`uls_data.pseudomask.solid` and `jury_3d`).
ELLIPSOID, JURY_3D = SOLID = ("ellipsoid", "jury_3d")
NEEDS_IMAGE = frozenset({"grabcut", "published", "jury", JURY_3D})


def _loader(name: str) -> Callable[[KeySlice], PseudoMask]:
    def method(key_slice: KeySlice) -> PseudoMask:
        module = import_module(f"uls_data.pseudomask.{_MODULES[name]}")
        made: PseudoMask = getattr(module, name)(key_slice)
        return made

    return method


METHODS: dict[str, Callable[[KeySlice], PseudoMask]] = {name: _loader(name) for name in _MODULES}


def pseudo_mask(name: str, key_slice: KeySlice, quality: Quality | None = None) -> PseudoMask:
    """Make a mask of a key slice by the method of a name.

    Parameters
    ----------
    quality : Quality, optional
        A user's own calibration of the jury's predicted Dice.

    Raises
    ------
    CaseError
        `degenerate_lines`: no mask can be made of the lines. Valid lines always give one, by
        every method but `published`, which loses what the published engine lost.
    """
    key_slice.check_lines()
    if name == "published" and key_slice.identity[:1] == ("ccc18",):
        from uls_data.pseudomask.published import RELEASED_CCC18, published

        return published(key_slice, RELEASED_CCC18)
    if name == "jury" and quality is not None:
        from uls_data.pseudomask.jury import jury

        return jury(key_slice, quality)
    return METHODS[name](key_slice)
