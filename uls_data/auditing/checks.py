"""Groups of rows that show the same thing: a scan, a mask, a lesion, a patient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from uls_data.auditing.fingerprint import TELLING_VOXELS
from uls_data.manifest.by_axis import spacing_of
from uls_data.manifest.choice import Choice
from uls_data.manifest.patients import patient_key, patient_space
from uls_data.manifest.row import Row
from uls_data.network.examples import heldout_patients
from uls_data.outcome import Flag
from uls_data.recipe import load_recipe, recipe_names

_Scan = tuple[str, str]  # source and case
# Numbers that the sketches of two scans must share, so that chance does not make them one.
_SHARED = 4
# A number that so many scans share says nothing about their place.
_COMMON = 32

SAME_IMAGE, SAME_MASK, SAME_LESION, SAME_SCAN, SAME_TRACK, SAME_PATIENT = (
    *("same_image", "same_mask", "same_lesion", "same_scan", "same_track", "same_patient"),
)
CHECKS = {
    SAME_IMAGE: "VOIs with different names and the same image",
    SAME_MASK: "VOIs with different names and the same mask and spacing",
    SAME_LESION: "lesions of two scans with the same mask, anywhere in the VOI",
    SAME_SCAN: "one scan under two names",
    SAME_TRACK: "lesions that one track follows through several patients",
    SAME_PATIENT: "held-out patients in several sources, or on both sides of a split",
}


@dataclass(frozen=True)
class Prints:
    """Fingerprints of one row, where its files were read.

    Attributes
    ----------
    sketch : tuple of int
        Of the image, see `scan_sketch`.
    mask : str or None
        Of the mask, see `mask_fingerprint`.
    """

    sketch: tuple[int, ...] = ()
    mask: str | None = None


@dataclass(frozen=True)
class Match:
    """Rows that one check puts together.

    Attributes
    ----------
    check : str
        One of `CHECKS`.
    rows : tuple of int
        Numbers of the rows, ascending.
    leak : bool
        One of them is held out, and another one is not or goes by another source.
    """

    check: str
    rows: tuple[int, ...]
    leak: bool

    @property
    def flag(self) -> Flag:
        """Flag that its rows get where it is a leak."""
        of_patient = self.check in (SAME_TRACK, SAME_PATIENT)
        return Flag.LEAK_HELDOUT_PATIENT if of_patient else Flag.LEAK_SAME_SCAN


def findings(rows: Sequence[Row], prints: Mapping[int, Prints] | None = None) -> list[Match]:
    """Everything that the checks find among rows of one or several manifests.

    Parameters
    ----------
    rows : sequence of dict
        Columns `COLUMNS`; rows without a mask that counts are left out.
    prints : mapping of int to Prints, optional
        Fingerprints of rows, by their number. Without any, masks are compared by their hashes and
        scans by their names alone. (Volume, axes and spacing do not tell masks apart: among the
        39,436 published labels they are equal in 64 groups besides those of equal hashes. In 6 of
        these the flat masks are equal, of other patients; in none is a 3D mask.)
    """
    prints = prints or {}
    choice = Choice(rows)
    use = [number for number, row in enumerate(rows) if choice.counts(row)]
    held = _heldout(rows, use)
    found: list[Match] = []
    for check, key in (
        (SAME_IMAGE, lambda n: rows[n]["image_voxels_sha256"]),
        (SAME_MASK, lambda n: _mask_key(rows[n])),
        (SAME_LESION, lambda n: _lesion_key(rows[n], prints.get(n, Prints()).mask)),
    ):
        name = _scan if check == SAME_LESION else _voi
        found += _groups(check, rows, use, held, key, name)
    found += _same_scan(rows, use, held, prints)
    found += _same_track(rows, use, held)
    found += _same_patient(rows, use, held)
    return found


def is_heldout(row: Row, held: Iterable[str]) -> bool:
    """Whether a row belongs to a held-out patient."""
    return row["split"] == "heldout" or patient_key(row) in held


def _heldout(rows: Sequence[Row], use: Sequence[int]) -> frozenset[str]:
    return heldout_patients() | {patient_key(rows[n]) for n in use if rows[n]["split"] == "heldout"}


def _voi(row: Row) -> Hashable:
    return row["source"], row["voi_id"]


def _scan(row: Row) -> Hashable:
    """One scan: key slices of one DeepLesion volume are not told apart by their names."""
    return patient_space(row["source"]), row["case_id"]


def _spacing(row: Row) -> tuple[float | None, ...]:
    # Published headers are float32.
    return tuple(None if mm is None else round(mm, 4) for mm in spacing_of(row))


def _mask_key(row: Row) -> Hashable:
    if row["label_voxels_sha256"] is None or (row["mask_voxels"] or 0) < TELLING_VOXELS:
        return None
    return row["label_voxels_sha256"], _spacing(row)


def _lesion_key(row: Row, mask: str | None) -> Hashable:
    spacing = _spacing(row)
    return None if mask is None or None in spacing else (mask, *sorted(spacing))  # type: ignore[type-var]


def _groups(
    check: str,
    rows: Sequence[Row],
    use: Sequence[int],
    held: frozenset[str],
    key: Callable[[int], Hashable],
    name: Callable[[Row], Hashable],
) -> list[Match]:
    """Rows of one key that go by several names."""
    by_key: dict[Hashable, list[int]] = defaultdict(list)
    for number in use:
        value = key(number)
        if value is not None:
            by_key[value].append(number)
    return [
        _finding(check, rows, numbers, held)
        for numbers in by_key.values()
        if len(numbers) > 1 and len({name(rows[n]) for n in numbers}) > 1
    ]


def _finding(
    check: str, rows: Sequence[Row], numbers: Sequence[int], held: frozenset[str]
) -> Match:
    sides = {is_heldout(rows[n], held) for n in numbers}
    stated = {rows[n]["split"] for n in numbers}
    sources = {rows[n]["source"] for n in numbers}
    leak = True in sides and (len(sides) > 1 or len(sources) > 1 or "train" in stated)
    return Match(check, tuple(sorted(numbers)), leak)


def _same_scan(
    rows: Sequence[Row], use: Sequence[int], held: frozenset[str], prints: Mapping[int, Prints]
) -> list[Match]:
    """Find scans with one name in two sources, or one series, or whose voxels say so."""
    names: dict[Hashable, set[_Scan]] = defaultdict(set)
    of_scan: dict[_Scan, list[int]] = defaultdict(list)
    by_hash: dict[str, list[int]] = defaultdict(list)
    for number in use:
        row = rows[number]
        scan = (row["source"], row["case_id"])
        of_scan[scan].append(number)
        names[_scan(row)].add(scan)
        if row["series_instance_uid"]:
            names["uid", row["series_instance_uid"]].add(scan)
        if sha256 := row.get("image_source_sha256"):
            # The same files: key slices of one patient's volume do not leak.
            by_hash[sha256].append(number)
    for sha256, numbers in by_hash.items():
        if len({patient_key(rows[n]) for n in numbers}) > 1:
            names["sha256", sha256] = {(rows[n]["source"], rows[n]["case_id"]) for n in numbers}
    pairs = [pair for scans in names.values() for pair in combinations(sorted(scans), 2)]
    pairs += _alike(rows, prints)
    return [
        _finding(SAME_SCAN, rows, [n for scan in scans for n in of_scan[scan]], held)
        for scans in _joined(pairs)
    ]


def _alike(rows: Sequence[Row], prints: Mapping[int, Prints]) -> list[tuple[_Scan, _Scan]]:
    """Pairs of scans whose sketches share numbers."""
    scans: dict[int, set[_Scan]] = defaultdict(set)
    for number, one in prints.items():
        for value in one.sketch:
            scans[value].add((rows[number]["source"], rows[number]["case_id"]))
    shared: dict[tuple[_Scan, _Scan], int] = defaultdict(int)
    for some in scans.values():
        if len(some) <= _COMMON:
            for pair in combinations(sorted(some), 2):
                shared[pair] += 1
    return [pair for pair, count in shared.items() if count >= _SHARED]


def _joined(pairs: Iterable[tuple[_Scan, _Scan]]) -> list[list[_Scan]]:
    """Join pairs to the sets of scans that they hold together."""
    group: dict[_Scan, list[_Scan]] = {}
    for one, other in pairs:
        mine, theirs = group.setdefault(one, [one]), group.setdefault(other, [other])
        if mine is not theirs:
            mine += theirs
            group.update(dict.fromkeys(theirs, mine))
    return list({id(scans): scans for scans in group.values()}.values())


def _same_track(rows: Sequence[Row], use: Sequence[int], held: frozenset[str]) -> list[Match]:
    """Find lesions of one track with several patients' ids: one of the two is wrong.

    Cases whose patients are not known may be one patient's; they are found where they leak.
    """
    found = _groups(
        SAME_TRACK, rows, use, held, lambda n: rows[n].get("lesion_track_id"), patient_key
    )
    return [
        one
        for one in found
        if one.leak
        or len({patient_key(rows[n]) for n in one.rows if rows[n]["patient_id"] is not None}) > 1
    ]


def _same_patient(rows: Sequence[Row], use: Sequence[int], held: frozenset[str]) -> list[Match]:
    """Held-out patients who are in several sources, by rows or by a shipped recipe."""
    by_patient: dict[str, list[int]] = defaultdict(list)
    for number in use:
        if rows[number]["patient_id"] is not None:
            by_patient[patient_key(rows[number])].append(number)
    recipes = [load_recipe(name).recipe for name in recipe_names()]
    sources: dict[str, set[str]] = defaultdict(set)
    for recipe in recipes:
        for patient in recipe.heldout_patients:
            sources[f"{patient_space(recipe.source)}/{patient}"].add(recipe.source)
    found = []
    for patient, numbers in sorted(by_patient.items()):
        if patient not in held:
            continue
        known = sources[patient] | {rows[n]["source"] for n in numbers}
        ours = any(rows[n]["split"] != "heldout" for n in numbers)
        theirs = len({(rows[n]["source"], rows[n]["source_split"]) for n in numbers})
        if len(known) > 1 or ours or theirs > 1:
            found.append(Match(SAME_PATIENT, tuple(numbers), True))
    return found
