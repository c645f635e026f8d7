"""Rankings of the lesions that look least like the others, each by a rule with its number."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from uls_data.manifest.row import Column, Row
from uls_data.outcome import Flag, LesionType, Supervision
from uls_data.reporting.ranking import Ranking, Rule, Suspect, rank

Numbers = Mapping[str, float]
# A group of lesions says what is usual from this many on.
_ENOUGH = 8
# Robust standard deviations that are not worth a look.
_USUAL = 3.5
# Bits beyond what the source's own mixture of types makes usual.
_SURPRISE = 3.0
_COPY = 20.0
_BORDERS = tuple(flag.value for flag in Flag if flag.name.startswith("TOUCHES"))


def _by_number(
    name: str, least: float, words: str, *, sign: float = 1.0
) -> Callable[[Sequence[Row], Sequence[Numbers]], Iterator[Suspect]]:
    """Rank by one measured number, where it is above what is not worth a look."""

    def judge(_rows: Sequence[Row], numbers: Sequence[Numbers]) -> Iterator[Suspect]:
        for at, measured in enumerate(numbers):
            value = measured.get(name)
            if value is not None and sign * value > sign * least:
                yield Suspect(at, sign * value, words.format(value=value, **measured))

    return judge


def _leak(_rows: Sequence[Row], numbers: Sequence[Numbers]) -> Iterator[Suspect]:
    for at, measured in enumerate(numbers):
        lobe, fill = measured.get("lobe", 0.0), measured.get("fill", 1.0)
        # A leak without much of a neck still leaves the ellipsoid emptier than lesions are.
        score = lobe + 0.3 * max(0.0, 0.8 - fill)
        if score > 0.05:
            yield Suspect(
                at,
                score,
                f"a lobe {lobe:.2f} radii apart; the mask fills {fill:.0%} of its ellipsoid",
            )


def _by_column(
    name: Literal["predicted_dice", "uncertainty"], words: str, *, sign: float = 1.0
) -> Callable[[Sequence[Row], Sequence[Numbers]], Iterator[Suspect]]:
    def judge(rows: Sequence[Row], _numbers: Sequence[Numbers]) -> Iterator[Suspect]:
        for at, row in enumerate(rows):
            if (value := row.get(name)) is not None:
                yield Suspect(at, sign * value, words.format(value=value))

    return judge


def _thickness(rows: Sequence[Row], _numbers: Sequence[Numbers]) -> Iterator[Suspect]:
    """Judge the extent along z that volume and axes imply for an ellipsoid, against the axes."""
    for at, row in enumerate(rows):
        volume = row.get("volume_mm3")
        long, short = row.get("long_axis_mm"), row.get("short_axis_mm")
        if not volume or not long or not short or _one_slice(row):
            continue
        implied = volume * 6 / np.pi / (long * short)
        ratio = float(implied / np.sqrt(long * short))
        score = abs(float(np.log2(ratio)))
        if score > 1:
            yield Suspect(
                at,
                score,
                f"volume {volume:.0f} mm³ with axes {long:.1f} x {short:.1f} mm implies "
                f"{implied:.1f} mm along z",
            )


def _one_slice(row: Row) -> bool:
    weak = row.get("supervision") == Supervision.WEAK_2D.value
    return weak or Flag.SINGLE_SLICE.value in (row.get("qc_flags") or ())


def _border(rows: Sequence[Row], numbers: Sequence[Numbers]) -> Iterator[Suspect]:
    for at, (row, measured) in enumerate(zip(rows, numbers, strict=True)):
        flags = set(row.get("qc_flags") or ())
        outside = row.get("fraction_outside_voi") or 0.0
        face = measured.get("border_face", 0.0)
        touched = sorted(flags & {*_BORDERS, Flag.AT_SCAN_EDGE.value, Flag.CUT_BY_VOI.value})
        if touched or outside > 0:
            words = f"{outside:.0%} of the lesion lies outside the VOI; " if outside else ""
            words += f"largest face on the border {face:.0%} of the largest cross-section; "
            yield Suspect(at, outside + face + 0.01, words + ", ".join(touched))


def _moved(_rows: Sequence[Row], numbers: Sequence[Numbers]) -> Iterator[Suspect]:
    for at, measured in enumerate(numbers):
        gain, shift = measured.get("edge_gain", 0.0), measured.get("edge_shift", 0.0)
        if shift and gain > 0.1:
            yield Suspect(
                at, gain, f"edges are {np.exp(gain):.1f} times as strong {shift:.1f} pixels away"
            )


def _groups(rows: Sequence[Row], by: Sequence[Column]) -> dict[tuple[Any, ...], list[int]]:
    found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        found[tuple(row.get(name) for name in by)].append(at)
    return found


def _far(values: Sequence[float]) -> Any:
    """Signed distance of each value from the median, in robust standard deviations."""
    array = np.asarray(values, np.float64)
    centre = np.median(array)
    spread = 1.4826 * np.median(np.abs(array - centre))
    # Half the distribution may be one value: then the plain deviation is all there is.
    return (array - centre) / max(float(spread), 0.25 * float(array.std()), 1e-9)


def _unlike_its_type(rows: Sequence[Row], numbers: Sequence[Numbers]) -> Iterator[Suspect]:
    for (lesion_type,), members in _groups(rows, ["lesion_type"]).items():
        known = [at for at in members if "hu_inside" in numbers[at]]
        if len(known) < _ENOUGH:
            continue
        values = [numbers[at]["hu_inside"] for at in known]
        for at, value, far in zip(known, values, _far(values), strict=True):
            if abs(far) > _USUAL:
                yield Suspect(
                    at,
                    abs(float(far)),
                    f"median {value:.0f} HU inside, {np.median(values):.0f} HU is usual for "
                    f"{lesion_type}",
                )


def _wrong_label(rows: Sequence[Row], _numbers: Sequence[Numbers]) -> Iterator[Suspect]:
    """Judge what does not fit where a lesion comes from: type, size, another lesion's mask."""
    surprise = _type_surprise(rows)
    size = _size(rows)
    copies = _copies(rows)
    for at, row in enumerate(rows):
        words, score = [], 0.0
        if surprise[at] > _SURPRISE:
            score += surprise[at]
            words.append(f"{row['lesion_type']} is rare for {row['source']}")
        if size[at] > _USUAL:
            score += size[at] - _USUAL
            words.append(f"its size is {size[at]:.1f} robust deviations off its group's")
        if at in copies:
            score += _COPY
            words.append(f"the same mask as {copies[at]}")
        if score:
            yield Suspect(at, score, "; ".join(words))


def _type_surprise(rows: Sequence[Row]) -> list[float]:
    """Bits by which a type is rarer for its source than that source's types are on average."""
    found = [0.0] * len(rows)
    for members in _groups(rows, ["source"]).values():
        counts = Counter(rows[at].get("lesion_type") for at in members)
        shares = np.array(list(counts.values())) / len(members)
        usual = float(-(shares * np.log2(shares)).sum())
        for at in members:
            # Without the lesion itself, and with a doubt about types never seen.
            seen = counts[rows[at].get("lesion_type")] - 1
            share = (seen + 0.5) / (len(members) - 1 + 0.5 * len(LesionType))
            found[at] = max(0.0, float(-np.log2(share)) - usual) if len(members) > 1 else 0.0
    return found


def _size(rows: Sequence[Row]) -> list[float]:
    """Robust deviation of the long axis (log) among lesions of one source and type."""
    found = [0.0] * len(rows)
    for members in _groups(rows, ["source", "lesion_type"]).values():
        lengths = {at: rows[at].get("long_axis_vox") or 0.0 for at in members}
        known = [at for at in members if lengths[at] > 0]
        if len(known) < _ENOUGH:
            continue
        for at, far in zip(known, _far([np.log(lengths[at]) for at in known]), strict=True):
            found[at] = abs(float(far))
    return found


def _copies(rows: Sequence[Row]) -> dict[int, str]:
    """Rows whose mask another lesion has too, voxel for voxel; of more than a few voxels."""
    found: dict[int, str] = {}
    # Most masks are there once: they are found without holding their digests.
    short = np.fromiter((hash(row.get("label_voxels_sha256")) for row in rows), np.int64)
    values, counts = np.unique(short, return_counts=True)
    groups: dict[str | None, list[int]] = defaultdict(list)
    for at in np.flatnonzero(np.isin(short, values[counts > 1])).tolist():
        groups[rows[at].get("label_voxels_sha256")].append(at)
    for digest, members in groups.items():
        if digest is None or (rows[members[0]].get("mask_voxels") or 0) < 20:
            continue
        for at in members:
            for other in members:
                one, two = rows[at], rows[other]
                if any(one[name] != two[name] for name in ("source", "case_id", "lesion_index")):
                    found[at] = str(two["voi_id"])
                    break
    return found


def _axis_error(rows: Sequence[Row], _numbers: Sequence[Numbers]) -> Iterator[Suspect]:
    for at, row in enumerate(rows):
        errors = row.get("key_slice_long_error_vox"), row.get("key_slice_short_error_vox")
        lengths = row.get("recist_long_vox"), row.get("recist_short_vox")
        if errors[0] is None or errors[1] is None:
            continue
        relative = max(abs(errors[0]) / (lengths[0] or 1), abs(errors[1]) / (lengths[1] or 1))
        yield Suspect(
            at,
            relative,
            f"long {errors[0]:+.1f}, short {errors[1]:+.1f} pixels off a measurement of "
            f"{lengths[0] or 0:.0f} x {lengths[1] or 0:.0f}",
        )


_RULES = (
    Rule(
        "leak",
        "A lobe behind a neck: a leak?",
        "By how much a part of the mask is thicker than the narrow place before it, in radii of "
        "the main body; a little more where the mask fills little of its ellipsoid.",
        _leak,
    ),
    Rule(
        "slice_jump",
        "One slice far larger than both neighbours: flooded?",
        "Area of a slice beyond that of both slices beside it, as a share of the largest area, "
        "along any axis.",
        _by_number("slice_jump", 0.1, "{value:.0%} of the largest area lies on one slice alone"),
    ),
    Rule(
        "fill",
        "Hollow, branching or scattered masks",
        "Volume over that of the ellipsoid with the same moments: 1 for an ellipsoid.",
        _by_number("fill", 0.8, "fills {value:.0%} of its ellipsoid", sign=-1),
    ),
    Rule(
        "thickness",
        "Volume that does not fit the axes",
        "Extent along z which volume and axes imply, against the axes: far too thin or thick.",
        _thickness,
    ),
    Rule(
        "cut",
        "A flat side inside the VOI: cut off?",
        "Area of the first or last slice along x or y over the largest area, less what an "
        "ellipsoid has there.",
        _by_number("flat_side", 0.1, "a flat side, {value:.2f} beyond an ellipsoid's"),
    ),
    Rule(
        "cut_z",
        "An abrupt end along z: cut off?",
        "A full area at one end along z and little at the other, in a lesion that is flat along "
        "z. Readers end lesions abruptly, too: this one is wrong more often.",
        _by_number("flat_end", 0.2, "a full end along z, {value:.2f}"),
    ),
    Rule(
        "border",
        "Lesions that reach the border of the VOI or the scan",
        "Share outside the VOI, plus the largest face on its border over the largest area.",
        _border,
    ),
    Rule(
        "off_click",
        "Masks away from the click: shifted?",
        "Distance from the VOI's centre to the nearest voxel of the mask, in radii of the lesion.",
        _by_number("click_distance", 0, "{value:.2f} radii away, centroid {click_offset:.2f}"),
    ),
    Rule(
        "edges_elsewhere",
        "Outlines that fit better elsewhere: shifted?",
        "Mean HU gradient on the outline moved by up to 6 pixels, over that on the outline.",
        _moved,
    ),
    Rule(
        "contrast",
        "HU inside as around",
        "Median HU inside less that of a ring around, in spreads of the ring: nearly none.",
        lambda rows, numbers: (
            Suspect(
                at,
                -abs(measured["contrast"]),
                f"{measured['hu_inside']:.0f} HU inside, {measured['hu_around']:.0f} around",
            )
            for at, measured in enumerate(numbers)
            if abs(measured.get("contrast", 1)) < 0.5
        ),
    ),
    Rule(
        "hu_of_type",
        "HU unlike other lesions of the type",
        "Robust deviations of the median HU inside from that of all lesions of the type.",
        _unlike_its_type,
    ),
    Rule(
        "wrong_label",
        "A label that does not fit its source",
        "A type that is rare for the source, a size far off its group's, or another lesion's "
        "mask, voxel for voxel.",
        _wrong_label,
    ),
    Rule(
        "apart",
        "Several components",
        "Share of the mask outside its largest 26-connected component.",
        _by_number("apart", 0, "{value:.2%} of the mask lies apart"),
    ),
    Rule(
        "axis_error",
        "Axes far from the measurement",
        "The larger error of the two axes on the key slice, over the measured axis.",
        _axis_error,
    ),
    Rule(
        "predicted_dice",
        "Lowest predicted Dice",
        "What calibration expects of the mask against a human one.",
        _by_column("predicted_dice", "predicted Dice {value:.2f}", sign=-1),
    ),
    Rule(
        "uncertainty",
        "Most uncertain",
        "Disagreement of the candidates, views or readers behind the mask.",
        _by_column("uncertainty", "uncertainty {value:.2f}"),
    ),
)


def rankings(rows: Sequence[Row], numbers: Sequence[Numbers], top: int = 10) -> list[Ranking]:
    """Rank lesions by every rule.

    Parameters
    ----------
    rows : sequence of dict
        Rows of manifests with status `ok`. A rule whose columns are null finds nothing.
    numbers : sequence of mapping
        Of each row: what `uls_data.measure.shape` measured; empty where no label was available.
    top : int
        Entries of a ranking at most.
    """
    return rank(_RULES, rows, numbers, top)
