"""What a case consists of on disk, and the look through a raw root that finds it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uls_data.outcome import Flag, Reason
from uls_data.sources.measurement import Measurement, StackSpec


@dataclass(frozen=True)
class CaseFiles:
    """Files of one case, relative to the raw root.

    Attributes
    ----------
    case_id : str
    image, mask : Path or None
        Volumes; None where the layout has no such file for this case. For a DICOM
        series `image` is the folder that holds its slices.
    instances : tuple of (instance, annotation, Path)
        Masks of annotators, where the recipe takes lesions from files: by number of the lesion,
        which is None where a file holds all lesions of the scan, and by annotator.
    slices : tuple of Path
        Files of a series of slices.
    stack : StackSpec or None
        Which numbered slices make the scan, where they are named by number. `image` is then
        their folder, the archive that they are read from without unpacking it, or the volume
        that they are a part of.
    annotations : tuple of Path
        Files that say where lesions are without being volumes: XML, RTSTRUCT, SEG, tables.
    measurements : tuple of Measurement
        What those tables say of this case.
    series_instance_uid, study_instance_uid : str or None
    beside : tuple of Path
        Files that belong to the case and are not read: copies, or what its problem is about.
    flags : tuple of Flag
        What is to be known of how the files were found to be one case.
    problem : (Reason, str) or None
        Why the case cannot be read, known without opening a volume.
    study_day : int or None
        Days since the patient's first study here.
    """

    case_id: str
    image: Path | None = None
    mask: Path | None = None
    instances: tuple[tuple[int | None, int, Path], ...] = ()
    slices: tuple[Path, ...] = ()
    stack: StackSpec | None = None
    annotations: tuple[Path, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    series_instance_uid: str | None = None
    study_instance_uid: str | None = None
    beside: tuple[Path, ...] = ()
    flags: tuple[Flag, ...] = ()
    problem: tuple[Reason, str] | None = None
    study_day: int | None = None

    def files(self) -> list[Path]:
        """All files of the case, sorted."""
        image = self.slices or ((self.image,) if self.image is not None else ())
        stack = self.stack
        if stack is not None and self.image is not None and not (stack.folder or stack.run):
            image = tuple(self.image / name for name in stack.names)
        mask = (self.mask,) if self.mask is not None else ()
        return sorted([*image, *mask, *self.annotations, *(path for *_, path in self.instances)])

    def held(self) -> Iterator[Path]:
        """All that belongs to the case; of slices named by number their folder or archive."""
        if self.image is not None:
            yield self.image
        if self.stack is None:
            yield from self.files()
        yield from self.annotations
        yield from self.beside


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which `case_9` comes before `case_10`."""
    return [
        (0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part)
        for part in re.split(r"([0-9]+)", name)
        if part
    ]
