"""Text headers of MetaImage and NRRD files: read once, strictly, for all who ask.

The header of a hostile file may name any file of the machine, so what it says is checked
before anything else is opened, and the voxels are read by us, from the file that was checked.
"""

from __future__ import annotations

from pathlib import Path

from uls_data.errors import CaseError
from uls_data.io.links import real_path
from uls_data.outcome import Reason
from uls_data.volumes.header_text import Encoding, Header, shown, unreadable
from uls_data.volumes.volume import check_file

_MOSTLY_BYTES, _HEADER_BYTES = 1 << 16, 1 << 20
_SUFFIXES = (".mha", ".mhd", ".nrrd")


def read_header(path: Path, *, layered: bool = False) -> Header:
    """Read the header of a .mha, .mhd or .nrrd file.

    Parameters
    ----------
    layered : bool
        Whether a voxel may have several values: the layers of a segmentation.

    Raises
    ------
    CaseError
        With the reason, and what was expected and found.
    """
    # Most workers meet neither.
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        from uls_data.volumes.nrrd import parse_nrrd as parse
    else:
        from uls_data.volumes.metaimage import parse_metaimage as parse
    with path.open("rb") as file:
        data = b""
        for most in (_MOSTLY_BYTES, _HEADER_BYTES):
            data += file.read(most - len(data))
            header = parse(data, path.name, whole=len(data) < most)
            if header is not None and (layered or header.values == 1):
                return header
            if header is not None:
                raise CaseError(
                    Reason.NOT_3D,
                    f"{path.name}: a segmentation of 3D Slicer with {header.values} layers, as "
                    "its segments overlap; say which segments are lesions, by their names, as "
                    "reader.segments of the recipe",
                )
    raise unreadable(path.name, f"its header does not end within {_HEADER_BYTES:,} bytes")


def declared_size(path: Path) -> tuple[int, int]:
    """Voxels that a header declares, and their bytes once decoded; mapped ones take none.

    Raises
    ------
    CaseError
        As `read_header`.
    """
    header = read_header(path, layered=True)
    return header.voxels, 0 if header.encoding is Encoding.RAW else header.voxel_bytes


def voxel_file(header: Header, path: Path, root: Path) -> Path:
    """File that holds the voxels, inside the root and no device.

    Parameters
    ----------
    path : Path
        File of the header.
    root : Path
        A header may name any file of the machine; only those below here may be opened.

    Raises
    ------
    CaseError
        `path_leaves_root`, or `unreadable` for what is not a file.
    """
    target = _inside(header, path, root)
    if header.place.file is not None and not target.is_file():
        what = "is not a file" if target.exists() else "is missing"
        raise unreadable(path.name, f"its voxel file {shown(header.place.file)} {what}")
    return target


def _inside(header: Header, path: Path, root: Path) -> Path:
    """Where the voxels are said to be, links followed, if that is below the root."""
    name = header.place.file
    if name is None:
        return path
    try:
        target = real_path(path.parent / name)
        inside = target.is_relative_to(root.resolve())
    except OSError as error:  # links that lead back to themselves
        raise unreadable(path.name, f"its voxel file {shown(name)} leads nowhere") from error
    if not inside:
        raise CaseError(
            Reason.PATH_LEAVES_ROOT,
            f"{path.name}: names voxels outside the raw root: {shown(name)}",
        )
    return target


def voxel_files(root: Path, path: Path) -> list[Path]:
    """Files beside a header that hold its voxels, relative to the root like it."""
    if path.suffix.lower() not in _SUFFIXES:
        return []
    try:
        check_file(root / path)
        header = read_header(root / path, layered=True)
        _inside(header, root / path, root)
    except (CaseError, OSError):
        return []
    name = header.place.file
    return [] if name is None else [path.parent / name]
