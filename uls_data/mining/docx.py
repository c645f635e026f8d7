"""Text of Word files (.docx): body and tables, read from the zip in bounded pieces."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from uls_data.errors import CaseError
from uls_data.outcome import Reason

MAXIMUM_XML_BYTES = 64 << 20
MAXIMUM_ELEMENTS = 2_000_000
MAXIMUM_DEPTH = 200
MAXIMUM_TEXT = 4 << 20
MAXIMUM_ENTRIES = 10_000
_BODY = "word/document.xml"
_CHUNK_BYTES = 1 << 16
# A compatibility copy of a drawing repeats its text; deleted text is not text.
_SKIPPED = frozenset({"Fallback", "del", "moveFrom", "instrText", "delText"})


def docx_text(data: bytes, name: str) -> str:
    """Text of the body: a line per paragraph and per row of a table, its cells separated by tabs.

    Headers, footers, comments and properties are not read.

    Raises
    ------
    CaseError
        `unreadable`: no Word file, broken, encrypted, or with entities; `too_large`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.infolist()) > MAXIMUM_ENTRIES:
                raise _too_large(name, f"{MAXIMUM_ENTRIES:,} entries")
            return _text(archive, name)
    except KeyError:
        raise CaseError(Reason.UNREADABLE, f"{name}: no Word file: {_BODY} is missing") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        # Encrypted entries raise RuntimeError; so does unknown compression, by NotImplementedError.
        raise CaseError(
            Reason.UNREADABLE, f"{name}: no readable Word file ({type(error).__name__})"
        ) from None


def _text(archive: zipfile.ZipFile, name: str) -> str:
    target = _Text(name)
    parser = DefusedXMLParser(
        target=target, forbid_dtd=True, forbid_entities=True, forbid_external=True
    )
    read = 0
    try:
        with archive.open(_BODY) as body:
            # What the zip says about sizes is not believed.
            while chunk := body.read(_CHUNK_BYTES):
                read += len(chunk)
                if read > MAXIMUM_XML_BYTES:
                    raise _too_large(name, f"{MAXIMUM_XML_BYTES:,} bytes of XML")
                parser.feed(chunk)
        text: str = parser.close()
    except ParseError as error:
        line, column = error.position
        raise CaseError(
            Reason.UNREADABLE, f"{name}: {_BODY}: line {line}, column {column}: not well formed"
        ) from None
    except DefusedXmlException as error:
        raise CaseError(
            Reason.UNREADABLE, f"{name}: holds what no report needs ({type(error).__name__})"
        ) from None
    return text


def _too_large(name: str, most: str) -> CaseError:
    return CaseError(Reason.TOO_LARGE, f"{name}: expected at most {most}")


class _Text:
    """Takes events of the parser; no tree is built."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parts: list[str] = []
        self._elements = self._depth = self._length = 0
        self._skipped_from = self._cells = self._texts = 0

    def start(self, tag: str, _attributes: Any) -> None:
        self._elements += 1
        self._depth += 1
        if self._elements > MAXIMUM_ELEMENTS or self._depth > MAXIMUM_DEPTH:
            raise _too_large(self._name, f"{MAXIMUM_ELEMENTS:,} elements, {MAXIMUM_DEPTH} levels")
        local = tag.rpartition("}")[2]
        if not self._skipped_from and local in _SKIPPED:
            self._skipped_from = self._depth
        if self._skipped_from:
            return
        if local == "t":
            self._texts += 1
        elif local == "tc":
            self._cells += 1
        elif local in ("br", "cr", "tab", "noBreakHyphen"):
            self._add({"tab": "\t", "noBreakHyphen": "-"}.get(local, "\n"))

    def end(self, tag: str) -> None:
        local = tag.rpartition("}")[2]
        if not self._skipped_from:
            if local == "t":
                self._texts -= 1
            elif local == "tc":
                self._cells -= 1
                self._add("\t")
            elif local == "p":
                self._add(" " if self._cells else "\n")
            elif local == "tr":
                self._add("\n")
        elif self._skipped_from == self._depth:
            self._skipped_from = 0
        self._depth -= 1

    def data(self, data: str) -> None:
        if self._texts and not self._skipped_from:
            self._add(data)

    def close(self) -> str:
        return "".join(self._parts)

    def _add(self, text: str) -> None:
        # A break inside a cell would end the row.
        text = " " if self._cells and text == "\n" else text
        self._length += len(text)
        if self._length > MAXIMUM_TEXT:
            raise _too_large(self._name, f"{MAXIMUM_TEXT:,} letters")
        self._parts.append(text)
