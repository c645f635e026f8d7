"""Masks that people edit in another program: written where it finds them, and taken back."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uls_data.errata.edited_file import read_edited
from uls_data.errata.edits import Current, Edit, Paths, Target, current, find_target, save_edit
from uls_data.errata.overlay import Correction, ErrataError, FileName, Name, Sha256, wrong_field
from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.io import sha256_file, sha256_voxels, write_bytes
from uls_data.manifest.opened import open_voi
from uls_data.measure.label import LabelColumns
from uls_data.nifti_writer import nifti_gz
from uls_data.volumes.metaheader import voxel_files
from uls_data.volumes.volume import suffix_of

IMAGE, MASK, NOTE = "image.nii.gz", "mask.nii.gz", "edit.json"
EVIDENCE = "edited in another program, over the image"
_MAXIMUM_NOTE_BYTES = 1 << 16
_SHOWN = 5


class _Note(BaseModel):
    """What `edit.json` says about the mask beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    edit_version: Literal[1] = 1
    source: FileName
    voi_id: FileName
    layer: Name
    before: Sha256
    known: Annotated[tuple[Sha256, ...], Field(max_length=1000)]
    """Files of the folder that are not new edits: as written, or taken back."""


@dataclass(frozen=True)
class EditFolder:
    """A VOI laid out for another program.

    Attributes
    ----------
    folder, image, mask : Path
    commands : dict of str to str
        Shell line that opens both, by program.
    """

    folder: Path
    image: Path
    mask: Path
    commands: dict[str, str]


@dataclass(frozen=True)
class TakenEdit:
    """An edited mask that was taken back.

    Attributes
    ----------
    file : Path
        That held it.
    overlay : Path
    correction : Correction
    flags : tuple of str
        What was put right in the file, in words.
    before, after : dict or None
        What is measured on the mask that was edited and on the new one; `before` is None where
        the earlier mask could not be read.
    """

    file: Path
    overlay: Path
    correction: Correction
    flags: tuple[str, ...]
    before: LabelColumns | None
    after: LabelColumns


def write_edit(
    voi_id: str,
    manifest: Paths,
    to: str | Path,
    *,
    source: str | None = None,
    layer: str | None = None,
    overlay: str | Path | None = None,
) -> EditFolder:
    """Write image and mask of a VOI as files that 3D Slicer and ITK-SNAP open.

    The folder `to/<voi_id>` holds `image.nii.gz` (HU), `mask.nii.gz` (to be edited and saved under
    its name), and `edit.json`, which says what the mask is.

    Parameters
    ----------
    voi_id, manifest, source, layer
        As for `find_target`.
    to : path
    overlay : path, optional
        Its edits are in the mask; default: `errata/edits.yaml` of the OUT folder.

    Raises
    ------
    ErrataError, ManifestError, CaseError
        As `find_target` and `current`; the VOI cannot be read; or the folder holds a mask that
        somebody edited.
    """
    target = find_target(voi_id, manifest, source=source, layer=layer)
    path = target.overlay if overlay is None else Path(overlay)
    now = current(target, path)
    voi = open_voi(target.shown, manifest)
    mask = _mask_now(target, now, path, voi.mask)
    try:
        note = _Note(
            source=target.row["source"],
            voi_id=str(target.row["voi_id"]),
            layer=target.row["layer"],
            before=now.sha256,
            known=(),
        )
        folder = Path(to) / note.voi_id
        image_file, mask_file = folder / IMAGE, folder / MASK
        _keep_edits(folder)
        kind = np.int16 if _fits(voi.image) else np.int32
        write_bytes(image_file, nifti_gz(voi.image.astype(kind), target.affine))
        write_bytes(mask_file, nifti_gz(mask.view(np.uint8), target.affine))
        _write_note(folder, note.model_copy(update={"known": (sha256_file(mask_file),)}))
    except ValidationError as error:
        raise ErrataError(f"{voi_id}: {wrong_field(error)}") from error
    except OSError as error:
        raise ErrataError(f"--to {to}: cannot be written: {error.strerror}") from error
    return EditFolder(folder, image_file, mask_file, commands(image_file, mask_file))


def commands(image: Path, mask: Path) -> dict[str, str]:
    """Shell lines that open an image with a mask, by program."""
    image, mask = image.absolute(), mask.absolute()
    script = f"slicer.util.loadVolume({str(image)!r}); slicer.util.loadSegmentation({str(mask)!r})"
    return {
        "3D Slicer": shlex.join(["Slicer", "--python-code", script]),
        "ITK-SNAP": shlex.join(["itksnap", "-g", str(image), "-s", str(mask)]),
    }


def _mask_now(
    target: Target, now: Current, overlay: Path, shown: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    mask = now.mask(overlay, target)
    if mask is None:
        mask = np.asfortranarray(shown)
        if sha256_voxels(mask.view(np.uint8)) != now.sha256:
            raise ErrataError(
                f"{target.row['voi_id']}: its label file is not the one that the manifest describes"
            )
    return mask


def _fits(image: NDArray[np.integer]) -> bool:
    limits = np.iinfo(np.int16)
    return bool(image.min() >= limits.min and image.max() <= limits.max)


def _keep_edits(folder: Path) -> None:
    """Refuse to write over what somebody edited."""
    if not (folder / NOTE).is_file():
        if (folder / MASK).exists():
            raise ErrataError(f"{folder / MASK}: exists without {NOTE}; name another folder")
        return
    if others := _edited(folder, _note(folder)):
        raise ErrataError(
            f"{others[0]}: was edited and not taken back; take it, or remove the folder"
        )


def _write_note(folder: Path, note: _Note) -> None:
    write_bytes(folder / NOTE, (json.dumps(note.model_dump(), indent=1) + "\n").encode())


def _note(folder: Path) -> _Note:
    path = folder / NOTE
    try:
        with path.open("rb") as file:
            data = file.read(_MAXIMUM_NOTE_BYTES + 1)
        if len(data) > _MAXIMUM_NOTE_BYTES:
            raise ErrataError(f"{path}: larger than it can be")
        return _Note.model_validate(json.loads(data))
    except FileNotFoundError as error:
        raise ErrataError(
            f"{folder}: holds no {NOTE}, which `uls-data errata edit` writes; give --voi VOI_ID "
            "for a mask from elsewhere"
        ) from error
    except OSError as error:
        raise ErrataError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ErrataError(f"{path}: {wrong_field(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ErrataError(f"{path}: not the JSON that `uls-data errata edit` writes") from error


def _edited(folder: Path, note: _Note) -> list[Path]:
    """Volumes of a folder that are not as they were written."""
    volumes = (p for p in sorted(folder.iterdir()) if suffix_of(p) and p.name != IMAGE)
    return [p for p in volumes if p.is_file() and _hash(p) not in note.known]


def _hash(volume: Path) -> str:
    """SHA-256 of a volume's file; of several files, as an .mhd has them, of their hashes."""
    beside = (volume.parent / name for name in voxel_files(volume.parent, Path(volume.name)))
    hashes = [sha256_file(file) for file in (volume, *beside) if file.is_file()]
    return hashes[0] if len(hashes) == 1 else hash_of(hashes)


def take_edit(
    path: str | Path,
    manifest: Paths,
    *,
    author: str,
    reason: str,
    evidence: str = EVIDENCE,
    overlay: str | Path | None = None,
    voi_id: str | None = None,
    source: str | None = None,
    layer: str | None = None,
    full: bool = False,
) -> TakenEdit:
    """Take an edited mask back as a correction with author and reason.

    The file is untrusted. It must lie on the VOI's grid (one that was cropped to a part of it, on
    its voxels, is put in its place), hold 0 and one other value, and be one lesion that holds the
    click, without a voxel of padding. It may be edited further and taken again.

    Parameters
    ----------
    path : path
        Folder that `write_edit` made, or the mask file: .nii, .nii.gz, .mha, .mhd or .nrrd.
    manifest : path or sequence of paths
    author, reason, evidence : str
        One line each.
    overlay : path, optional
        Default: `errata/edits.yaml` of the OUT folder.
    voi_id, source, layer : str, optional
        Of a mask from elsewhere, that has no `edit.json` beside it.
    full : bool
        See `Edit`.

    Raises
    ------
    ErrataError, ManifestError
        No mask, or one that is refused; the message says what was expected and found.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    note = None
    if voi_id is None:
        note = _note(folder)
        file = _only(folder, note) if path.is_dir() else path
        voi_id, source, layer = note.voi_id, note.source, note.layer
    else:
        file = path
    target = find_target(voi_id, manifest, source=source, layer=layer)
    to = target.overlay if overlay is None else Path(overlay)
    now = current(target, to)
    mask, flags = read_edited(file, target.affine)
    said = "; ".join((evidence, *flags))
    before = now.sha256 if note is None else note.before
    correction = save_edit(target, Edit(mask, before, author, reason, said, full), to)
    if note is not None and correction.after is not None:
        known = (*note.known, _hash(file))
        _write_note(folder, note.model_copy(update={"before": correction.after, "known": known}))
    return TakenEdit(
        file=file,
        overlay=to,
        correction=correction,
        flags=flags,
        before=_measured_before(target, now, to, manifest),
        after=target.measured(mask),
    )


def _measured_before(
    target: Target, now: Current, overlay: Path, manifest: Paths
) -> LabelColumns | None:
    try:
        mask = now.mask(overlay, target)
        if mask is None:
            mask = open_voi(target.shown, manifest).mask
        return target.measured(mask)
    except (ErrataError, CaseError):
        return None


def _only(folder: Path, note: _Note) -> Path:
    edited = _edited(folder, note)
    if not edited:
        raise ErrataError(
            f"{folder / MASK}: is as it was written; edit it and save it under this name, or as "
            "another volume into this folder"
        )
    if len(edited) > 1:
        names = ", ".join(p.name for p in edited[:_SHOWN])
        raise ErrataError(f"{folder}: several edited masks ({names}); name the file")
    return edited[0]
