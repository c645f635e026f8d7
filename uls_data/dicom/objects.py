"""DICOM objects that annotate a series: opened without decoding what they need not say.

Values are taken from the raw bytes, so that a header's free text is never decoded by
the way, and nothing is parsed that the file's own size does not bound.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import decode_bytes
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_sequence
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import TEXT_VR_DELIMS

from uls_data.dicom.header import looks_like_dicom
from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.io import sha256_bytes
from uls_data.outcome import Reason
from uls_data.volumes.volume import check_file

# How far, in voxels, an annotation may lie off the grid of its scan. Writers round
# positions (often to six digits) and steps between slices differ a little: the real
# files of the tests lie within 1e-5. More than a tenth is another grid.
GRID_TOLERANCE_VOX = 0.1
FARTHEST_MM = 1e6
# A parsed element takes some hundred bytes where the file may spend eight. A structure
# set of 100,000 contours and a segmentation of 20,000 frames need fewer reads.
_MAXIMUM_READS = 1 << 21
_MAXIMUM_NUMBERS_BYTES = 1 << 23
_UNDEFINED_LENGTH = 0xFFFFFFFF
_UID = re.compile(rb"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)+")
_NUMBERS = re.compile(rb"[0-9eE+\-. \\]+")


@dataclass(frozen=True)
class Region:
    """Voxels of a grid, as the smallest box that holds them.

    Attributes
    ----------
    mask : ndarray, bool
        In the index order of the grid; of shape (0, 0, 0) where there are none.
    start : tuple of 3 int
        Grid index of the box's index (0, 0, 0).
    """

    mask: NDArray[np.bool_]
    start: Triple

    @property
    def voxels(self) -> NDArray[np.int32]:
        """Grid indices, shape (n, 3), in C order of the grid."""
        return np.argwhere(self.mask).astype(np.int32) + np.array(self.start, dtype=np.int32)


NOTHING = Region(np.zeros((0, 0, 0), dtype=bool), (0, 0, 0))


@dataclass(frozen=True)
class FreeText:
    """What somebody typed into a header: it leaves only by a pattern that matches all of it."""

    _text: str = field(repr=False)

    def matching(self, pattern: re.Pattern[str]) -> str | None:
        """Return the text (printable, at most 64 characters) if all of it matches."""
        return self._text if pattern.fullmatch(self._text) else None

    def hashed(self) -> str:
        """SHA-256 (hex) of the text in lower case, to tell texts apart; empty without text."""
        return sha256_bytes(self._text.lower().encode()) if self._text else ""


NO_TEXT = FreeText("")


def unreadable(name: str, found: str) -> CaseError:
    """Return the error for an object that does not hold what its class must."""
    return CaseError(Reason.ANNOTATION_UNREADABLE, f"{name}: {found}; export it again")


@contextmanager
def parsing(name: str) -> Iterator[None]:
    """Turn whatever pydicom raises on damaged data into `annotation_unreadable`.

    Its warnings and its log may quote values of the header: they are kept silent, and
    the cause of an error is not passed on.
    """
    logger = logging.getLogger("pydicom")
    disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (CaseError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error.__context__, CaseError):
            # pydicom puts errors of its own in the place of those of a read.
            raise error.__context__ from None
        raise unreadable(name, f"damaged DICOM data ({type(error).__name__})") from None
    finally:
        logger.disabled = disabled


class _Counted(BytesIO):
    """Bytes that can be read a bounded number of times, and so give a bounded number of elements.

    A read of more bytes than there are allocates no more than there are.
    """

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name
        self.reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MAXIMUM_READS:
            raise CaseError(
                Reason.TOO_LARGE, f"{self.name}: more DICOM elements than an annotation has"
            )
        return super().read(size)


def read_object(
    path: Path, sop_classes: Collection[UID], maximum_bytes: int, encapsulated: Collection[UID] = ()
) -> tuple[Dataset, UID, bool]:
    """Read a DICOM file (PS3.10) of some SOP classes, little endian and uncompressed or deflated.

    Parameters
    ----------
    encapsulated : collection of UID
        Further transfer syntaxes, whose pixel data the caller decodes.

    Returns
    -------
    Dataset, UID, bool
        What it holds, its transfer syntax, and whether it has the preamble that it should have.

    Raises
    ------
    CaseError
        As `read_seg` says; whatever else pydicom raises is for `parsing`.
    """
    name = path.name
    try:
        check_file(path)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size) if size <= maximum_bytes else b""
    except OSError as error:
        raise CaseError(
            Reason.IO_ERROR, f"{name}: {error.strerror or type(error).__name__}"
        ) from error
    if size > maximum_bytes:
        raise CaseError(
            Reason.TOO_LARGE, f"{name}: {size:,} bytes; at most {maximum_bytes:,} are read"
        )
    has_preamble = data[128:132] == b"DICM"
    if not has_preamble and not looks_like_dicom(data, name):
        raise unreadable(name, "not a DICOM file (no DICM at byte 128)")
    stored = _Counted(data, name)
    start = 132 if has_preamble else 0
    stored.seek(start)
    meta = Dataset()
    if data[start : start + 2] == b"\x02\0":
        meta = read_dataset(stored, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    syntax = UID(uid(meta, "TransferSyntaxUID", name) or "")
    if not syntax and not has_preamble:
        vr = data[stored.tell() + 4 : stored.tell() + 6]
        explicit = vr.isalpha() and vr.isupper()
        syntax = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    known = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    if syntax not in known and syntax not in encapsulated:
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT,
            f"{name}: expected transfer syntax {' or '.join(one.name for one in known)}, found "
            f"{syntax.name or 'none'}; convert it, with dcmconv or gdcmconv",
        )
    if syntax == DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = inflater.decompress(stored.read(), maximum_bytes)
        if not inflater.eof:
            raise CaseError(
                Reason.TRUNCATED_FILE,
                f"{name}: deflated data ends too early, or takes more than {maximum_bytes:,} bytes",
            )
        stored = _Counted(inflated, name)
    ds = read_dataset(stored, syntax == ImplicitVRLittleEndian, True)
    found = UID(uid(ds, "SOPClassUID", name) or "")
    if found not in sop_classes:
        expected = " or ".join(one.name for one in sop_classes)
        raise unreadable(name, f"expected {expected}, found {found.name or 'no SOP class'}")
    return ds, syntax, has_preamble


def _element(ds: Dataset, keyword: str) -> DataElement | RawDataElement | None:
    return ds.get_item(keyword)  # declared to return less than it does


def raw_value(ds: Dataset, keyword: str, name: str) -> bytes:
    """Return the stored bytes of an element, none where it is absent."""
    element = _element(ds, keyword)
    if not isinstance(element, RawDataElement):
        return b""
    value = element.value or b""
    if element.length not in (len(value), _UNDEFINED_LENGTH):
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{name}: {keyword} needs {element.length:,} bytes, found {len(value):,}; the file is "
            "cut short",
        )
    return value


def items(ds: Dataset, keyword: str, name: str) -> list[Dataset]:
    """Items of a sequence; none where it is absent."""
    element = _element(ds, keyword)
    if not isinstance(element, RawDataElement):
        value = element.value if element is not None else None
        return list(value) if isinstance(value, DicomSequence) else []
    if element.VR not in (None, "SQ", "UN"):
        raise unreadable(name, f"{keyword} is not a sequence")
    stored = _Counted(raw_value(ds, keyword, name), name)
    size = stored.getbuffer().nbytes
    # Whether items are implicit, as in what a writer calls unknown (UN), pydicom sees in them.
    charset = ds.original_character_set
    found = read_sequence(stored, element.is_implicit_VR, True, size, charset)
    if stored.tell() != size:
        raise unreadable(name, f"{keyword} ends before its last byte")
    return list(found)


def uid(ds: Dataset, keyword: str, name: str) -> str | None:
    """Value of a UID element; None where it is absent or holds anything else."""
    value = raw_value(ds, keyword, name).strip(b"\0 ")
    return value.decode("ascii") if _UID.fullmatch(value) else None


def unsigned(ds: Dataset, keyword: str, name: str) -> int | None:
    """Value of a US element; None where it is absent."""
    value = raw_value(ds, keyword, name)
    return int.from_bytes(value[:2], "little") if len(value) >= 2 else None


def numbers(ds: Dataset, keyword: str, name: str, count: int | None = None) -> NDArray[np.float64]:
    """Finite numbers of a DS or IS element, `count` of them where that is given."""
    value = raw_value(ds, keyword, name).strip(b"\0 ")
    if len(value) > _MAXIMUM_NUMBERS_BYTES:
        raise CaseError(Reason.TOO_LARGE, f"{name}: {keyword} has {len(value):,} bytes of numbers")
    found: NDArray[np.float64] = np.zeros(0)
    if value:
        if not _NUMBERS.fullmatch(value):
            raise unreadable(name, f"{keyword} holds something else than numbers")
        found = np.array([float(part) for part in value.split(b"\\")])
    if not np.isfinite(found).all() or (count is not None and len(found) != count):
        raise unreadable(name, f"{keyword}: expected {count or 'finite'} numbers")
    return found


def whole_number(ds: Dataset, keyword: str, name: str) -> int | None:
    """Value of an IS element; None where it is absent."""
    found = numbers(ds, keyword, name)
    if not len(found):
        return None
    if len(found) > 1 or not found[0].is_integer() or abs(found[0]) >= 1 << 31:
        raise unreadable(name, f"{keyword}: expected one whole number")
    return int(found[0])


def word(ds: Dataset, keyword: str, name: str) -> str:
    """Value of a code string, a code or a scheme, at most 64 characters."""
    return raw_value(ds, keyword, name)[:64].strip(b"\0 ").decode("ascii", "replace")


def free_text(ds: Dataset, keyword: str, name: str) -> FreeText:
    """Printable characters of a text element, at most 64 (the limit of LO)."""
    encodings = ds.original_character_set
    encodings = [encodings] if isinstance(encodings, str) else list(encodings)
    text = decode_bytes(raw_value(ds, keyword, name)[:1024], encodings, TEXT_VR_DELIMS)
    return FreeText("".join(c for c in text if c.isprintable())[:64].strip())
