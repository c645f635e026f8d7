"""Lesions of DICOM objects that refer to a series: RT structure sets and segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from uls_data.dicom.phases import NamedSlices
from uls_data.dicom.referred import kind_of, slices_named
from uls_data.dicom.series import Series
from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.io import sha256_file
from uls_data.lesions.instances import Lesion, Mark, find_lesions, ras_voxels
from uls_data.lesions.joined import by_component, by_overlap, connected, joined, together
from uls_data.lesions.votes import Voxels
from uls_data.outcome import Flag, Reason
from uls_data.recipe.model import Given, Recipe
from uls_data.recipe.reader import DicomMasks, DicomObjects, Readers
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.dicom.clicks import clicked
from uls_data.sources.dicom.several import choose_objects
from uls_data.sources.dicom.structures import Click, Structure, read_object
from uls_data.sources.masks import open_masks
from uls_data.sources.opening import Opened, Opening
from uls_data.sources.scans import folder_of, naming_all
from uls_data.volumes.volume import Volume


def open_masked(opening: Opening, reader: DicomMasks) -> Opened:
    """Open one series and the mask volume of its name."""
    scan = None if opening.labels_only else opening.series(reader.policy).volume
    return open_masks(opening, scan, reader.segments)


def open_referred(opening: Opening, reader: DicomObjects) -> Opened:
    """Open one series and the objects that refer to it; see `object_lesions`."""
    objects = opening.case.annotations
    try:
        series = opening.series(reader.policy, lambda: _named_slices(opening, reader))
        found = object_lesions(opening.case, opening.raw, reader, opening.recipe, series)
    except CaseError as error:
        raise CaseError(error.reason, naming_all(error.detail, objects)) from error
    opening.flags |= found.flags
    opening.selected |= found.selected
    other = [Mark(Reason.NOT_ANNOTATED, series.left_out)] if series.left_out else []
    return opening.of_series(series, found.lesions, found.marks + other)


def _named_slices(opening: Opening, reader: DicomObjects) -> NamedSlices:
    """Slices that the objects of a case name; an unreadable one, which gets a row, names none."""
    named = NamedSlices()
    for path in choose_objects(opening.case.annotations, opening.raw, reader).paths:
        with suppress(CaseError):
            kind = reader.kinds[0] if len(reader.kinds) == 1 else kind_of(opening.raw / path)
            named |= slices_named(opening.raw / path, kind)
    return named


@dataclass
class ObjectLesions:
    """What the objects of a series hold.

    Attributes
    ----------
    lesions : list of Lesion
    marks : list of Mark
        What is selected there and is not a lesion.
    flags : set of Flag
    selected : set of str
        Names of the structures that the recipe selects.
    """

    lesions: list[Lesion]
    marks: list[Mark]
    flags: set[Flag]
    selected: set[str]


def object_lesions(
    case: CaseFiles, raw: Path, reader: DicomObjects, recipe: Recipe, series: Series
) -> ObjectLesions:
    """Lesions of the objects of a case, and what is selected there and is none.

    With `rule: given` each structure whose name fits the recipe is a lesion, numbered
    in the order of objects and structures; with `rule: components` their union is
    split as a mask of value 1, and each part bears the names of all structures in it. A
    structure without voxels is a lesion that says why, or with `components` a mark, as is an
    object without a fitting structure. Structures of several readers are joined by majority.

    Raises
    ------
    CaseError
        No object of the case can be read, or no structure's name fits.
    """
    drawn = _read(case, raw, reader, recipe, series)
    structures = drawn.structures
    selected = {one.name for one in structures}
    if reader.readers is not None:
        lesions = _of_readers(recipe, reader.readers, drawn, series.volume)
    elif isinstance(recipe.instances, Given):
        lesions = _given(case, raw, structures, series.volume)
    else:
        lesions = _parts(case, recipe, drawn, series.volume)
    lesions, marks, points = clicked(lesions, drawn.clicks)
    return ObjectLesions(lesions, drawn.marks + marks, drawn.flags, selected | points)


@dataclass
class _Drawn:
    """What the objects of a series hold, before lesions are made of it."""

    structures: list[Structure]
    clicks: list[Click]
    marks: list[Mark]
    flags: set[Flag]
    readers: set[int]
    """Those with objects of their own, whether or not they marked anything."""


def _read(
    case: CaseFiles, raw: Path, reader: DicomObjects, recipe: Recipe, series: Series
) -> _Drawn:
    known, faults = 0, list[CaseError]()
    objects = choose_objects(case.annotations, raw, reader)
    paths = objects.paths
    found = _Drawn([], [], list(objects.marks), set(), set())
    if not paths:
        raise CaseError(Reason.ANNOTATION_MISMATCH, objects.marks[0].detail)
    common = folder_of(paths)
    for path in paths:
        name = readable(path.as_posix())
        try:
            drawn = read_object(raw / path, case.case_id, reader, recipe, series)
        except CaseError as error:
            faults.append(error)
            # Objects of several folders may have one name.
            detail = error.detail.replace(path.name, name, 1)
            found.marks.append(Mark(error.reason, detail))
            continue
        known += drawn.others
        found.flags |= drawn.flags
        structures = drawn.structures
        if (whose := objects.reader_of.get(path)) is not None:
            found.readers.add(whose)
            structures = tuple(replace(one, reader=whose) for one in structures)
        own = f"{readable(path.relative_to(common).as_posix())}/" if len(paths) > 1 else ""
        found.structures += [replace(one, name=f"{own}{one.name}", path=path) for one in structures]
        found.clicks += [replace(one, name=f"{own}{one.name}") for one in drawn.clicks]
        if not drawn.structures and not drawn.clicks:
            detail = f"{name}: none of its {drawn.others} structures fits {reader.structures!r}"
            found.marks.append(Mark(Reason.NO_LESION, detail))
    if faults and not found.structures and not found.clicks:
        raise faults[0]
    if not found.structures and not found.clicks:
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"expected a structure whose name fits {reader.structures!r}, found {known} others; "
            "change reader.structures in the recipe",
        )
    return found


def _parts(case: CaseFiles, recipe: Recipe, drawn: _Drawn, volume: Volume) -> list[Lesion]:
    """Lesions of the union of all structures; a structure without voxels becomes a mark."""
    mask = np.zeros(volume.stored.shape, dtype=np.uint8, order="F")
    for one in drawn.structures:
        mask[tuple(one.region.voxels.T)] = 1
        if one.problem is None:
            drawn.flags.update(one.flags)
        else:
            drawn.marks.append(Mark(*one.problem, one.name))
    together = replace(volume, stored=mask, slope=1.0, intercept=0.0)
    parts = find_lesions(together, recipe, case.annotations[0].name)
    return _named(parts, drawn.structures, volume)


def _given(
    case: CaseFiles, raw: Path, structures: Sequence[Structure], volume: Volume
) -> list[Lesion]:
    """Return each structure as a lesion."""
    paths = {one.path for one in structures} if len(case.annotations) > 1 else set()
    hashes = {path: sha256_file(raw / path) for path in sorted(paths)}
    lesions = []
    for index, one in enumerate(structures, start=1):
        columns = {"label_source": readable(one.path.as_posix())}
        if one.path in hashes:
            columns["label_source_sha256"] = hashes[one.path]
        lesions.append(
            Lesion(
                index,
                ras_voxels(one.region.voxels, volume),
                one.name,
                skipped=one.problem,
                columns=(*columns.items(), *one.columns),
                flags=one.flags,
            )
        )
    return lesions


def _of_readers(recipe: Recipe, said: Readers, drawn: _Drawn, volume: Volume) -> list[Lesion]:
    """Lesions by strict majority; a structure without voxels, or of no reader, becomes a mark."""
    own = list[tuple[Structure, int]]()
    for one in drawn.structures:
        if one.problem is not None:
            drawn.marks.append(Mark(*one.problem, one.name))
        elif one.reader is None:
            detail = "its name fits none of reader.readers.names"
            drawn.marks.append(Mark(Reason.ANNOTATION_MISMATCH, detail, one.name))
        else:
            drawn.flags.update(one.flags)
            own.append((one, one.reader))
    readers = drawn.readers | {reader for _, reader in own}
    voxels = [ras_voxels(one.region.voxels, volume) for one, _ in own]
    given = isinstance(recipe.instances, Given)
    if said.votes == "lesion":
        return _of_lesions(own, voxels, drawn, volume, named=bool(said.names), given=given)
    groups = by_overlap(voxels) if given else by_component(voxels, volume.ras.shape)
    lesions = []
    for index, group in enumerate(groups, 1):
        its = [own[at][0] for at, _ in group]
        name = "+".join(one.name for one in its)
        lesion = joined(index, [(own[at][1], mark) for at, mark in group], readers, name)
        lesions.append(replace(lesion, columns=_common(its)))
    return lesions


def _of_lesions(
    own: Sequence[tuple[Structure, int]],
    voxels: Sequence[Voxels],
    drawn: _Drawn,
    volume: Volume,
    *,
    named: bool,
    given: bool,
) -> list[Lesion]:
    """Lesions on which those vote who marked them; with `components`, what touches is one."""
    found: list[tuple[Lesion, list[Structure]]] = []
    for group in by_overlap(voxels):
        its = [own[at][0] for at, _ in group]
        readers = sorted({own[at][1] for at, _ in group})
        # Who read which object is not known: numbers say that two of a lesion are not the same.
        number = {one: one if named else at for at, one in enumerate(readers, 1)}
        marks = [(number[own[at][1]], mark) for at, mark in group]
        name = "+".join(one.name for one in its)
        lesion = joined(len(found) + 1, marks, None, name)
        if lesion.skipped is None or given:
            found.append((replace(lesion, columns=_common(its)), its))
        else:
            drawn.marks.append(Mark(*lesion.skipped, name))
    if given:
        return [lesion for lesion, _ in found]
    lesions = []
    parts = connected([lesion.voxels for lesion, _ in found], volume.ras.shape)
    for index, (mask, places) in enumerate(parts, 1):
        its = [one for at in places for one in found[at][1]]
        name = "+".join(one.name for one in its)
        lesion = together(index, mask, [found[at][0] for at in places], name)
        lesions.append(replace(lesion, columns=_common(its)))
    return lesions


def _named(parts: list[Lesion], structures: Sequence[Structure], volume: Volume) -> list[Lesion]:
    """Parts of a union, with the names of the structures that have voxels in each."""
    if not parts:
        return []
    shape = volume.ras.shape
    owner = np.concatenate([np.full(len(part.voxels), at) for at, part in enumerate(parts)])
    flat = np.concatenate([np.ravel_multi_index(tuple(part.voxels.T), shape) for part in parts])
    order = np.argsort(flat)
    flat, owner = flat[order], owner[order]
    owners: list[list[Structure]] = [[] for _ in parts]
    for one in structures:
        own = np.ravel_multi_index(tuple(ras_voxels(one.region.voxels, volume).T), shape)
        for at in np.unique(owner[np.searchsorted(flat, own)]).tolist():
            owners[at].append(one)
    return [
        replace(
            part,
            source_lesion_id="+".join(one.name for one in its),
            columns=(*part.columns, *_common(its)),
        )
        for part, its in zip(parts, owners, strict=True)
    ]


def _common(structures: Sequence[Structure]) -> tuple[tuple[str, str], ...]:
    """Columns in which all structures of a lesion say the same."""
    shared = set(structures[0].columns).intersection(*(one.columns for one in structures))
    return tuple(sorted(shared))
