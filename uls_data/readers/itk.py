"""MetaImage and NRRD volumes, read by SimpleITK; LPS becomes RAS here and nowhere else."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.io import sha256_file
from uls_data.outcome import Flag, Reason
from uls_data.readers.metaheader import Header, check_packed, read_header
from uls_data.readers.volume import Volume, check_size, squeeze_trailing

sitk.ProcessObject.SetGlobalWarningDisplay(False)

_MAXIMUM_GZIP_RATIO = 1040


def read_itk(path: Path, root: Path) -> Volume:
    """Read a .mha, .mhd or .nrrd volume; see `uls_data.readers.volume.read_volume`."""
    reader, files, shape, dropped = _information(path, root)
    try:
        with _quiet():
            image = reader.Execute()
    except RuntimeError as error:
        raise CaseError(Reason.UNREADABLE, f"{path.name}: {_sentence(error, path)}") from error
    dimension = image.GetDimension()
    # SimpleITK numbers axes z, y, x; transposing gives x fastest, as in NIfTI.
    array = sitk.GetArrayFromImage(image).T.reshape(shape, order="F")
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:3, :3]
    affine_lps = np.eye(4)
    affine_lps[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    affine_lps[:3, 3] = image.GetOrigin()[:3]
    hashes = [sha256_file(file) for file in files]
    return Volume(
        stored=array,
        stored_affine=geometry.check_affine(geometry.LPS_TO_RAS @ affine_lps),
        slope=1.0,
        intercept=0.0,
        sha256=hashes[0] if len(hashes) == 1 else hash_of(sorted(hashes)),
        flags=(Flag.TRAILING_AXIS_DROPPED,) if dropped else (),
    )


def _information(path: Path, root: Path) -> tuple[Any, list[Path], tuple[int, ...], bool]:
    """Reader that has seen the header, the files behind it, shape, and dropped axes."""
    header = read_header(path)
    files = [path, *_detached_files(path, header, root)]
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with _quiet():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise CaseError(Reason.UNREADABLE, f"{path.name}: {_sentence(error, path)}") from error
    if reader.GetNumberOfComponents() != 1:
        raise CaseError(
            Reason.NOT_3D,
            f"{path.name}: expected one value a voxel, found {reader.GetNumberOfComponents()}",
        )
    shape, dropped = squeeze_trailing(tuple(int(n) for n in reader.GetSize()), path.name)
    check_size(math.prod(shape), path.name)
    _check_room(files, math.prod(shape), path.name)
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise CaseError(Reason.UNSUPPORTED_FORMAT, f"{path.name}: complex voxels are no CT")
    expected_bytes = math.prod(shape) * _item_bytes(reader)
    check_packed(path, header, files, expected_bytes)
    return reader, files, shape, dropped


def _detached_files(path: Path, header: Header, root: Path) -> list[Path]:
    """Voxel files that a text header names, all of them inside the root.

    A header may name any file of the machine; none is opened before this check.
    """
    files = []
    for name in header.files():
        if name.upper() == "LOCAL":
            continue
        if name.upper().startswith("LIST") or "%" in name:
            raise CaseError(
                Reason.UNSUPPORTED_FORMAT,
                f"{path.name}: expected one voxel file, found {name!r}; join them into one",
            )
        if "\0" in name:
            raise CaseError(Reason.UNREADABLE, f"{path.name}: no file is called {name!r}")
        target = (path.parent / name).resolve()
        if not target.is_relative_to(root.resolve()):
            raise CaseError(
                Reason.PATH_LEAVES_ROOT,
                f"{path.name}: names voxels outside the raw root: {name!r}",
            )
        if not target.is_file():
            raise CaseError(Reason.UNREADABLE, f"{path.name}: its voxel file {name!r} is missing")
        files.append(target)
    return files


def _item_bytes(reader: Any) -> int:
    bits = re.search(r"(\d+)-bit", sitk.GetPixelIDValueAsString(reader.GetPixelID()))
    return int(bits[1]) // 8 if bits else 8


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what ITK's libraries print from C++; their errors arrive as exceptions."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _check_room(files: list[Path], voxels: int, name: str) -> None:
    """Refuse a header whose shape the files cannot hold, before it is allocated."""
    stored = sum(file.stat().st_size for file in files)
    if voxels > stored * _MAXIMUM_GZIP_RATIO:
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{name}: header claims {voxels:,} voxels, which {stored:,} bytes cannot hold",
        )


def _sentence(error: Any, path: Path) -> str:
    """Return the sentence of an ITK error, without its C++ file names and our folders."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = lines[-1].split("): ")[-1].strip() if lines else "ITK could not read it"
    return text.replace(str(path), path.name).replace(str(path.parent), "")
