"""Masks that respect what a reader drew.

A network's mask may differ from the 2D mask on the slice that a reader measured, although the
2D mask is the better witness there. The rules, by name:

`replace`
    The key slice holds the 2D mask.
`blend`
    The key slice holds what two of three say: network, 2D mask, ellipse of the lines.
`leave`
    The key slice is the network's.

Whichever is taken, the mask is one 6-connected component through the click, so that no slice
is skipped, and reaches no farther along z than the long axis is long. With `replace` no end point
is farther than a pixel from the mask, as in the 2D mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple
from uls_data.measure.ellipsoid import ellipse_field
from uls_data.network.inference import RULES, Rule
from uls_data.network.lesion import clicked
from uls_data.network.plan import ModelError, Plan
from uls_data.network.prompt import Drawn
from uls_data.network.voxels import CENTRE_ZYX


def rule_of(rule: Rule, plan: Plan) -> Rule:
    """Rule that is meant: `auto` is `replace` for a model that is told the lines, else `leave`.

    Raises
    ------
    ModelError
        No such rule.
    """
    if rule not in RULES:
        raise ModelError(f"key slice {rule!r}: expected one of {', '.join(RULES)}")
    if rule != "auto":
        return rule
    return "leave" if plan.prompt is None else "replace"


def respected(
    mask: NDArray[np.bool_],
    plane: NDArray[np.bool_],
    drawn: Drawn,
    rule: Rule,
    click: Triple = CENTRE_ZYX,
) -> NDArray[np.bool_]:
    """Return a mask that respects the lines, by a rule; `auto` is not one here.

    Parameters
    ----------
    mask : ndarray, shape (z, y, x), bool
        Of the network, on the whole VOI.
    plane : ndarray, shape (y, x), bool
        The 2D mask on the key slice.
    drawn : Drawn
        In indices of the VOI.

    Returns
    -------
    ndarray, shape (z, y, x), bool
        The mask itself where nothing would be left at the click.
    """
    at = drawn.slice_vox
    if rule == "leave" or not 0 <= at < len(mask) or not plane.any():
        return mask
    made = mask.copy()
    if rule == "replace":
        made[at] = plane
    else:
        ellipse = ellipse_field(drawn.lines, (mask.shape[2], mask.shape[1])).T <= 1
        made[at] = mask[at].astype(np.uint8) + plane + ellipse >= 2
    long_mm, _ = drawn.lines.length_mm(drawn.spacing_mm)
    reach = int(long_mm / drawn.spacing_mm[2]) + 1
    made[: max(0, at - reach)] = False
    made[at + reach + 1 :] = False
    found = clicked(made, click, drawn.spacing_mm[::-1])
    if found is None:
        return mask
    box, component = found
    whole = np.zeros_like(mask)
    whole[box] = component
    return whole
