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
from scipy import ndimage

from uls_data.geometry import Triple
from uls_data.measure.ellipsoid import ellipse_field
from uls_data.network.inference import RULES, Rule
from uls_data.network.lesion import clicked
from uls_data.network.plan import ModelError, Plan
from uls_data.network.prompt import Drawn
from uls_data.network.voxels import CENTRE_ZYX, VALID, Region
from uls_data.pseudomask.jury_3d import MOST_ODDS, log_odds
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.slab import Part, Slab

# Weight of the jury's vote beside the network's, whose log odds are larger, but no more reliable.
# Chosen on nodules, with a network that had learned from sarcomas (docs/3d-masks.md).
_JURY = 4


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


def votes(image_vote: bool | None, plan: Plan) -> bool:
    """Whether image and lines vote beside a network: None is yes where it is told the lines.

    Raises
    ------
    ModelError
        They are to vote beside a network that is told no lines.
    """
    if image_vote and plan.prompt is None:
        raise ModelError(
            f"image vote: the model of plan {plan.name!r} is not told any lines, so there is "
            f"nothing for the jury to go by; leave the option out"
        )
    return plan.prompt is not None if image_vote is None else image_vote


def weighed(margin: NDArray[np.float32], part: Region, drawn: Drawn) -> NDArray[np.float32]:
    """Mean of two votes: the network's margin, and, four times, that of the jury in 3D.

    A network knows the organs that it learned from. What the jury goes by, the tissue inside and
    around the lines, holds for every organ (`uls_data.pseudomask.jury_3d`).

    Parameters
    ----------
    margin : ndarray, shape (z, y, x), float32
        Logit of lesion minus that of background.
    part : Region
        The same part of the VOI.
    drawn : Drawn
        In indices of the part.
    """
    found = ndimage.find_objects((part.marks & VALID).T.astype(np.uint8))
    measured = KeySlice(part.hu[0].T, drawn.lines, drawn.spacing_mm[:2])
    near = found and Part.about(measured, drawn.slice_vox, found[0], drawn.spacing_mm)
    if not near:
        return margin
    odds = np.full(margin.T.shape, -MOST_ODDS, np.float32)
    slab = Slab.of(part.hu.T[near.box], near.measured, near.slice_vox, drawn.spacing_mm)
    odds[near.box] = log_odds(slab)
    return np.asarray((margin + _JURY * odds.T) / (1 + _JURY), np.float32)


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
