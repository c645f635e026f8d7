"""A recipe for volumes with masks: pairs, lists of pairs, masks of DICOM series."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from uls_data.errors import SourceError
from uls_data.ids import readable
from uls_data.sources.dataset_json import FILE, DatasetJson, read_dataset_json
from uls_data.sources.looking import LESION_WORDS, Look, Pairs, Template, Values
from uls_data.sources.pairs.datalist import listed_files
from uls_data.sources.proposal import (
    SHOWN,
    Proposal,
    any_of,
    fill,
    names_of_lesions,
    quoted,
    shape_of,
)

_CHANNEL = re.compile(r"_[0-9]{4}\{ext\}$")
_PATIENT = (
    "  # Regular expression whose group is the patient, if the case's name holds one. EDIT",
    '  patient: "(.*)"',
)
_PATIENTS = (
    "whether several cases belong to one patient: each is its own until `patient` says otherwise"
)


def propose_pairs(made: Proposal, look: Look) -> bool:
    """Fill in image and mask volumes of the same names; False where none pair."""
    found = look.pairs()
    if found is None:
        return False
    described = _described(look, found.mask.files.values())
    found = _of_ct(made, look, found, described)
    common = found.image.files.keys() & found.mask.files.keys()
    made.seen += [
        f"images {found.image.pattern}, masks {found.mask.pattern}: {len(common)} cases have both"
    ]
    _tell_other_masks(made, found)
    used = found.image.paths | found.mask.paths
    used = used.union(*(it.paths for it in found.others))
    left = [path for path in look.volumes if path not in used]
    if left:
        made.unsure.append(
            f"volumes of no case of this layout: {len(left)}, such as "
            f"{readable(left[0].as_posix())}"
        )
    rule, segments = _rule(made, look.values(found.mask), described.labels)
    reader = [
        "# Pairs of volumes, as found below the raw root.",
        "reader:",
        "  name: volume_pairs",
        "  layouts:",
        "    - name: as_found",
        f"      image: {quoted(found.image.pattern)}",
        f"      mask: {quoted(found.mask.pattern)}",
        f"  case: {quoted(shape_of(made, common | _alone(found), loose=True))}",
        *segments,
        *_PATIENT,
    ]
    made.unsure.append(_PATIENTS)
    fill(made, reader, rule)
    return True


def _alone(found: Pairs) -> set[str]:
    """Names that only an image or only a mask has: the recipe selects these cases too."""
    image, mask, *others = (found.image, found.mask, *found.others)
    taken = frozenset().union(*(it.paths for it in others))
    return {
        case
        for one, other in ((image, mask), (mask, image))
        for case, path in one.files.items()
        if path not in other.paths | taken
    }


def _of_ct(made: Proposal, look: Look, found: Pairs, described: DatasetJson) -> Pairs:
    """Take the channel that dataset.json calls CT (nnU-Net: `_0000`, `_0001`, ...)."""
    if not described.channels:
        return found
    if described.ct is None:
        names = ", ".join(sorted(set(described.channels.values())))
        made.unsure.append(
            f"dataset.json calls the images {names}, not CT: their values are taken for HU"
        )
    elif len(described.channels) > 1:
        channel = f"channel {described.ct} of {len(described.channels)} is CT"
        wanted, named = _CHANNEL.subn(f"_{described.ct:04d}{{ext}}", found.image.pattern)
        images = next((it for it in look.templates if named and it.pattern == wanted), None)
        if images is not None:
            made.seen.append(f"{channel} and is read")
            return replace(found, image=images)
        made.unsure.append(
            f"{channel}, but no names of images say so: {found.image.pattern} is read"
        )
    return found


def propose_listed(made: Proposal, look: Look, datalist: Path) -> bool:
    """Fill in pairs that a JSON file lists; False where it lists none that are there."""
    cases = listed_files(look.root, datalist)
    masks = {name: case.mask for name, case in cases.items() if case.mask and not case.problem}
    if not masks:
        return False
    made.seen.append(f"{datalist} lists {len(cases)} cases; {len(masks)} have image and label")
    labels = read_dataset_json(look.root / datalist).labels
    rule, segments = _rule(made, look.values(Template(datalist.as_posix(), masks)), labels)
    reader = [
        "# Pairs of volumes that a JSON file lists; its paths are relative to its folder.",
        "reader:",
        "  name: volume_pairs",
        f"  datalist: {quoted(datalist.as_posix())}",
        *segments,
        *_PATIENT,
    ]
    made.unsure.append(_PATIENTS)
    fill(made, reader, rule)
    return True


def propose_lists(made: Proposal, look: Look, *, described: bool) -> bool:
    """Fill in the first list that is there; `described`: a dataset.json with `dataset`."""
    for path in look.other:
        if path.suffix.lower() != ".json":
            continue
        if described and not (path.name == FILE and read_dataset_json(look.root / path).lists):
            continue
        try:
            if propose_listed(made, look, path):
                return True
        except SourceError as error:
            made.seen.append(str(error).splitlines()[0])
    return False


def _tell_other_masks(made: Proposal, found: Pairs) -> None:
    for other in found.others[:SHOWN]:
        made.unsure.append(
            f"{other.pattern} holds masks of the same cases ({len(other.files)}), left out here"
        )


def propose_masks_of_series(made: Proposal, look: Look) -> bool:
    """Fill in mask volumes beside DICOM series that folders of the same name hold."""
    folders = {part for one in look.ct for part in one.files[0].parts[:-1]}
    best: tuple[set[str], Template] | None = None
    for mask in look.masks() if look.ct else ():
        common = mask.files.keys() & folders
        if common and (best is None or len(common) > len(best[0])):
            best = common, mask
    if best is None:
        return False
    common, mask = best
    made.seen.append(
        f"{len(look.ct)} CT series, {len(mask.files)} masks {mask.pattern}; {len(common)} are "
        "called like a folder of a series"
    )
    rule, segments = _rule(made, look.values(mask), _described(look, mask.files.values()).labels)
    reader = [
        "# DICOM series, and a mask volume called like a folder above each.",
        "reader:",
        "  name: dicom_masks",
        f"  case: {quoted(shape_of(made, common))}",
        f"  mask: {quoted(mask.pattern)}",
        *segments,
    ]
    fill(made, reader, rule)
    return True


def _rule(made: Proposal, values: Values, labels: dict[int, str]) -> tuple[str, list[str]]:
    """`instances` of the recipe, and lines of its reader that go with it."""
    if values.unread:
        made.unsure.append(f"{len(values.unread)} masks cannot be read, such as {values.unread[0]}")
    if values.segments:
        made.seen.append(f"segments of {values.looked} of {values.of} masks, by name:")
        made.seen += [f"  {n:4} {name}" for name, n in values.segments.most_common(SHOWN)]
        names = names_of_lesions(made, values.segments, "segment")
        lines = [
            "  # Names of segments that are lesions.",
            f"  segments: {quoted(any_of(names))}    # EDIT",
        ]
        return "instances: {rule: given}    # each segment is a lesion", lines
    seen = sorted(values.masks)
    made.seen.append(f"values of {values.looked} of {values.of} masks:")
    made.seen += [
        f"  {value:4} in {values.masks[value]} masks, {values.voxels[value]:,} voxels"
        + (f"  ({labels[value]})" if value in labels else "")
        for value in seen[:SHOWN]
    ]
    if values.numbered:
        made.unsure.append(
            "values run from 1 to another number in each mask: they are taken for numbers of "
            "lesions (rule: values); if they are kinds of tissue, use components"
        )
        return "instances: {rule: values}    # EDIT: each value is one lesion", []
    lesions = [value for value in seen if LESION_WORDS.search(labels.get(value, ""))]
    if not lesions:
        lesions = seen or [1]
        if len(seen) > 1:
            made.unsure.append(
                f"which of the values {', '.join(map(str, seen))} are lesions: all are taken; move "
                "those that are not (organs, cysts) to `others`"
            )
        elif not seen:
            made.unsure.append("the masks that were read hold 0 alone; 1 is taken for a lesion")
    others = [value for value in seen if value not in lesions]
    closed = "null" if values.looked < values.of else f"{others}"
    return (
        f"instances: {{rule: components, values: {lesions}, others: {closed}, connectivity: 6, "
        "keep: all}   # EDIT",
        [],
    )


def _described(look: Look, files: Iterable[Path]) -> DatasetJson:
    """Read the dataset.json above some files."""
    folders = {parent for path in files for parent in path.parents}
    for path in look.other:
        if path.name == FILE and path.parent in folders:
            found = read_dataset_json(look.root / path)
            if found.labels or found.channels:
                return found
    return DatasetJson()
