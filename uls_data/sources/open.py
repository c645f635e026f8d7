"""Open one case: its scan, the lesions that its annotations hold, and what is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.io import sha256_file
from uls_data.lesions.instances import Lesion, Mark, find_lesions, join_votes
from uls_data.outcome import Flag, Reason
from uls_data.profile import PROFILES, Profile
from uls_data.recipe.model import Files, Quirk, Recipe
from uls_data.recipe.reader import Ccc18, DeepLesion, DicomMasks, DicomObjects, LidcXml, Lndb
from uls_data.sources.case_files import CaseFiles
from uls_data.volumes import Volume, read_volume

if TYPE_CHECKING:
    from uls_data.dicom.series import Series

# Two headers describe one grid if no corner of it moves by more of a voxel than this.
_SAME_GRID_VOX = 0.1


@dataclass
class Opened:
    """One case in memory.

    Attributes
    ----------
    reference : Volume
        The volume on whose grid the lesions are indexed: the scan, or without it the mask.
    scan : Volume or None
        None where images are not wanted.
    lesions : list of Lesion
        By number.
    marks : list of Mark
        What the source marks and is no lesion mask.
    flags : set of Flag
    image_sha256, label_sha256 : str or None
    """

    reference: Volume
    scan: Volume | None
    lesions: list[Lesion]
    marks: list[Mark] = field(default_factory=list)
    flags: set[Flag] = field(default_factory=set)
    image_sha256: str | None = None
    label_sha256: str | None = None


def open_case(
    case: CaseFiles,
    recipe: Recipe,
    raw: Path,
    *,
    labels_only: bool,
    profile: Profile = PROFILES["paper"],
) -> Opened:
    """Read what one case consists of.

    Parameters
    ----------
    case : CaseFiles
        Without a problem.
    raw : Path
        Raw root.
    labels_only : bool
        Leave the image unread where the lesions can be told without it.
    profile : Profile
        For sources whose lesions are measurements.

    Raises
    ------
    CaseError
        With the reason.
    """
    opened = _Opener(case, recipe, raw, labels_only, profile).opened()
    if Quirk.SLICES_ON_AXIS_0 in recipe.quirks and opened.reference.orientation.axes[2] != 0:
        codes = geometry.axis_codes(opened.reference.stored_affine)
        raise CaseError(
            Reason.UNEXPECTED_AXIS_ORDER,
            f"expected the stored axis 0 to run along the body, header says {codes}; "
            "this is an old download with a wrong header: get the current one",
        )
    return opened


class _Opener:
    def __init__(
        self, case: CaseFiles, recipe: Recipe, raw: Path, labels_only: bool, profile: Profile
    ) -> None:
        self.case, self.recipe, self.raw, self.labels_only = case, recipe, raw, labels_only
        self.profile = profile
        self.flags: set[Flag] = set()

    def opened(self) -> Opened:
        reader = self.recipe.reader
        if isinstance(reader, LidcXml):
            from uls_data.sources.lidc.lesions import lidc_lesions

            series = self._series()
            lesions, marks, seen = lidc_lesions(self.case, self.raw, reader, self.recipe, series)
            self.flags |= seen
            return self._with_series(series, lesions, marks)
        if isinstance(reader, DicomObjects):
            from uls_data.sources.dicom.lesions import object_lesions

            series = self._series()
            lesions, seen = object_lesions(self.case, self.raw, reader, self.recipe, series)
            self.flags |= seen
            return self._with_series(series, lesions, [])
        if isinstance(reader, Ccc18):
            from uls_data.sources.measurements.lesions import crowd_lesions

            series = self._series()
            lesions, marks = crowd_lesions(self.case, self.raw, reader, series, self.profile)
            return self._with_series(series, lesions, marks)
        if isinstance(reader, DeepLesion):
            from uls_data.sources.deeplesion.lesions import open_deeplesion

            found = open_deeplesion(
                self.case, reader, self.raw, labels_only=self.labels_only, profile=self.profile
            )
            self.flags |= found.flags
            return self._result(found.reference, found.scan, found.lesions, [], found.label_sha256)
        scan = self._scan()
        if isinstance(reader, Lndb):
            from uls_data.sources.lndb.lesions import lndb_lesions

            masks = [
                (annotator, self._aligned(self._read(path), path, scan))
                for _, annotator, path in self.case.instances
            ]
            lesions, marks = lndb_lesions(self.case, self.raw, reader, masks)
            reference = scan or masks[0][1]
            sha256 = hash_of(sorted(mask.sha256 for _, mask in masks))
            return self._result(reference, scan, lesions, marks, sha256)
        if isinstance(self.recipe.instances, Files):
            return self._by_files(scan)
        assert self.case.mask is not None
        mask = self._aligned(self._read(self.case.mask), self.case.mask, scan)
        lesions = find_lesions(mask, self.recipe, self.case.mask.name)
        return self._result(scan or mask, scan, lesions, [], mask.sha256)

    def _scan(self) -> Volume | None:
        if self.labels_only:
            return None
        if self.case.slices:
            return self._series().volume
        return self._read(self.case.image) if self.case.image is not None else None

    def _series(self) -> Series:
        from uls_data.dicom.series import SeriesPolicy, read_series

        reader = self.recipe.reader
        assert isinstance(reader, DicomMasks | DicomObjects | LidcXml | Ccc18)
        policy = SeriesPolicy(**reader.policy.model_dump())
        series = read_series(self.case.slices, self.raw, policy)
        self.flags |= set(series.volume.flags)
        return series

    def _with_series(self, series: Series, lesions: list[Lesion], marks: list[Mark]) -> Opened:
        hashes = [sha256_file(self.raw / path) for path in self.case.annotations]
        sha256 = hashes[0] if len(hashes) == 1 else hash_of(sorted(hashes))
        scan = None if self.labels_only else series.volume
        return self._result(series.volume, scan, lesions, marks, sha256)

    def _result(
        self,
        reference: Volume,
        scan: Volume | None,
        lesions: list[Lesion],
        marks: list[Mark],
        label_sha256: str | None,
    ) -> Opened:
        image_sha256 = scan.sha256 if scan is not None else None
        return Opened(reference, scan, lesions, marks, self.flags, image_sha256, label_sha256)

    def _read(self, path: Path) -> Volume:
        volume = read_volume(self.raw / path, self.raw, self.recipe.quirks)
        self.flags |= set(volume.flags)
        return volume

    def _aligned(self, mask: Volume, path: Path, scan: Volume | None) -> Volume:
        """Return the mask on the scan's grid, or say why it is not."""
        if scan is None:
            return mask
        if mask.ras.shape == scan.ras.shape:
            off = geometry.affine_difference_mm(mask.affine, scan.affine, scan.ras.shape)
            if off <= _SAME_GRID_VOX * min(geometry.spacing_mm(scan.affine)):
                return mask
        if mask.stored.shape != scan.stored.shape:
            raise CaseError(
                Reason.GRID_MISMATCH,
                f"{path.name}: mask has shape {mask.stored.shape} "
                f"({geometry.axis_codes(mask.stored_affine)}), image {scan.stored.shape} "
                f"({geometry.axis_codes(scan.stored_affine)}); they must be one grid, masks are "
                "never resampled",
            )
        if Quirk.IMAGE_AFFINE_WINS not in self.recipe.quirks:
            raise CaseError(
                Reason.AFFINE_MISMATCH,
                f"{path.name}: mask {geometry.describe(mask.stored_affine)}, "
                f"image {geometry.describe(scan.stored_affine)}; if the voxels still match one "
                f"by one, list the quirk {Quirk.IMAGE_AFFINE_WINS} in the recipe",
            )
        self.flags.add(Flag.MASK_AFFINE_IGNORED)
        return replace(mask, stored_affine=scan.stored_affine)

    def _by_files(self, scan: Volume | None) -> Opened:
        """Lesions by majority vote over the files of each instance."""
        case = self.case
        hashes: list[str] = []
        reference = scan
        by_number: dict[int, list[Path]] = {}
        for number, _, path in case.instances:
            by_number.setdefault(number, []).append(path)
        if reference is None:
            first = case.instances[0][2] if case.instances else case.mask
            assert first is not None
            reference = self._read(first)

        def votes() -> Iterator[tuple[int, list[Volume]]]:
            for number, paths in by_number.items():
                volumes = [self._aligned(self._read(path), path, scan) for path in paths]
                hashes.extend(volume.sha256 for volume in volumes)
                yield number, volumes

        allowed = Quirk.FLOAT_MASK in self.recipe.quirks
        lesions = join_votes(votes(), reference.ras.shape, case.case_id, allowed)
        sha256 = hash_of(sorted(hashes)) if hashes else None
        return self._result(reference, scan, lesions, [], sha256)
