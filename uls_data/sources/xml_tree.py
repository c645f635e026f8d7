"""XML of annotations as a tree: untrusted, so bounded, and without a DTD or entities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers.expat import ErrorString

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from uls_data.errors import CaseError
from uls_data.outcome import Reason

_FEED_BYTES = 1 << 16


@dataclass(frozen=True)
class Bounds:
    """What a file of some kind can be at most.

    Attributes
    ----------
    what : str
        The kind, for messages, such as `LIDC reading`.
    elements, depth : int
        How many, and in how many levels.
    text : int
        Characters of one text.
    """

    what: str
    elements: int
    depth: int
    text: int

    def unreadable(self, name: str, why: str) -> CaseError:
        """Return the error for a file that is none of this kind (`annotation_unreadable`)."""
        return CaseError(
            Reason.ANNOTATION_UNREADABLE, f"{name}: no {self.what}: {why}; get the file again"
        )


class BoundedBuilder(TreeBuilder):
    """Builds a tree, and stops with `too_large` before it grows beyond its bounds.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    """

    def __init__(self, name: str, bounds: Bounds) -> None:
        super().__init__()
        self._name, self._bounds = name, bounds
        self._elements = self._depth = self._text = 0

    def start(self, tag: str, attrs: Any, /) -> Element:
        """Open an element."""
        self._elements, self._depth, self._text = self._elements + 1, self._depth + 1, 0
        if self._elements > self._bounds.elements or self._depth > self._bounds.depth:
            most = f"{self._bounds.elements:,} elements in {self._bounds.depth} levels"
            raise CaseError(Reason.TOO_LARGE, f"{self._name}: expected at most {most}")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        """Close an element."""
        self._depth, self._text = self._depth - 1, 0
        return super().end(tag)

    def data(self, data: str, /) -> None:
        """Add text to the open element."""
        self._text += len(data)
        if self._text > self._bounds.text:
            most = f"{self._bounds.text:,} characters"
            raise CaseError(Reason.TOO_LARGE, f"{self._name}: a text is longer than {most}")
        super().data(data)


def read_tree(data: bytes, name: str, bounds: Bounds) -> Element:
    """Root of the tree of an XML file.

    Raises
    ------
    CaseError
        `annotation_unreadable`: not well formed, not decodable, or with a DTD or entities;
        `too_large`.
    """
    parser = DefusedXMLParser(
        target=BoundedBuilder(name, bounds),
        forbid_dtd=True,
        forbid_entities=True,
        forbid_external=True,
    )
    try:
        for at in range(0, len(data), _FEED_BYTES):
            parser.feed(data[at : at + _FEED_BYTES])
        root: Element = parser.close()
    except ParseError as error:
        # The parser's own message may show names from the file.
        line, column = error.position
        what = ErrorString(error.code) if error.code else "not well formed"
        raise bounds.unreadable(name, f"line {line}, column {column}: {what}") from None
    except DefusedXmlException as error:
        why = f"holds what no reading needs ({type(error).__name__})"
        raise bounds.unreadable(name, why) from None
    except (LookupError, ValueError, AssertionError) as error:
        # Encodings that do not exist, or that no single bytes can be told from.
        raise bounds.unreadable(name, f"cannot be decoded ({type(error).__name__})") from None
    return root
