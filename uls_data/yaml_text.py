"""YAML of recipes, plans and overlays, which anybody may have written: bounded before it is built.

PyYAML's own loaders recurse: 50,000 open brackets end the process with a segmentation fault in
libyaml's composer. Here its parser's events, which do not recurse, are put together in a loop.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import yaml

from uls_data.errors import UlsDataError

MAXIMUM_DEPTH = 32
# Longer ones cost quadratic time, in reading (1:1:1:...) or in printing.
_LONGEST_NUMBER = 100
# What YAML takes for text; libyaml names such a character without its place.
_NO_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# libyaml's parser is seven times as fast, and reads the same language.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"


class YamlError(UlsDataError):
    """A text is not YAML, or says more than one of our files needs to say."""


def read_yaml(path: Path, maximum_bytes: int) -> Any:
    """Read a file as `load_yaml` does.

    Raises
    ------
    YamlError
        Missing or unreadable, too.
    """
    try:
        with path.open("rb") as file:
            data = file.read(maximum_bytes + 1)
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror}") from error
    return load_yaml(data, str(path), maximum_bytes)


def load_yaml(text: str | bytes, what: str, maximum_bytes: int) -> Any:
    """Read one YAML document of plain fields, lists and values.

    Parameters
    ----------
    text : str or bytes
        Bytes are UTF-8.
    what : str
        Begins every message: the file.
    maximum_bytes : int

    Raises
    ------
    YamlError
        Too large, nested too deeply, not YAML, or with the same field twice, aliases, merge keys
        or tags; one line that names the place.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(data) > maximum_bytes:
        raise YamlError(f"{what}: larger than {_size(maximum_bytes)}")
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(what, data[: error.start].decode("utf-8"), "a byte that is not UTF-8")
    if found := _NO_TEXT.search(decoded):
        _refuse(what, decoded[: found.start()], f"{found.group()!r} is not a character of a text")
    try:
        return _Document(decoded).content()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise YamlError(f"{what}: not valid YAML: {place}{problem}") from error
    except yaml.YAMLError as error:
        raise YamlError(f"{what}: not valid YAML: {' '.join(str(error).split())}") from error


def _size(count: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} bytes"


def _refuse(what: str, before: str, problem: str) -> NoReturn:
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    raise YamlError(f"{what}: not valid YAML: line {line}, column {column}: {problem}")


def _wrong(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _Document:
    """Values out of events; what is open lies on a stack of its own, not on the process's."""

    def __init__(self, text: str) -> None:
        self.loader = _Loader(text)
        self.open: list[dict[Any, Any] | list[Any]] = []
        # Per open mapping the key that waits for its value; lists have none.
        self.keys: list[list[Any]] = []
        self.root: Any = None

    def content(self) -> Any:
        """Read the events of one document; none has no content."""
        documents = 0
        try:
            while (event := self.loader.get_event()) is not None:
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        raise _wrong(event, "a second document (---) begins here")
                elif isinstance(event, yaml.NodeEvent):
                    self._begin(event)
                elif isinstance(event, yaml.CollectionEndEvent):
                    self.open.pop()
                    self.keys.pop()
        finally:
            self.loader.dispose()
        return self.root

    def _begin(self, event: Any) -> None:
        if event.anchor is not None:
            raise _wrong(event, "aliases (&, *) are not allowed")
        if event.tag is not None:
            raise _wrong(event, f"tags ({_short(event.tag.replace(_TAG, '!!'))}) are not allowed")
        if isinstance(event, yaml.ScalarEvent):
            self._put(self._value(event), event)
            return
        if len(self.open) == MAXIMUM_DEPTH:
            raise _wrong(event, f"nested deeper than {MAXIMUM_DEPTH} levels")
        made: dict[Any, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._put(made, event)
        self.open.append(made)
        self.keys.append([])

    def _put(self, value: Any, event: Any) -> None:
        if not self.open:
            self.root = value
            return
        inside, waiting = self.open[-1], self.keys[-1]
        if isinstance(inside, list):
            inside.append(value)
        elif waiting:
            inside[waiting.pop()] = value
        elif isinstance(value, dict | list):
            raise _wrong(event, "the name of a field is a word")
        elif value in inside:
            raise _wrong(event, f"duplicate field {_short(value)}")
        else:
            waiting.append(value)

    def _value(self, event: Any) -> Any:
        """Return what a word means: text, a number, a date, yes or no, nothing."""
        tag = self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        kind = tag.removeprefix(_TAG)
        if kind == "merge":
            raise _wrong(event, "merge keys (<<) are not allowed")
        if kind in ("int", "float") and len(event.value) > _LONGEST_NUMBER:
            raise _wrong(event, f"a number of {len(event.value)} characters")
        construct = self.loader.yaml_constructors.get(tag)
        if construct is None:
            raise _wrong(event, f"{_short(event.value)} has no meaning here")
        try:
            return construct(self.loader, yaml.ScalarNode(tag, event.value))
        except Exception as error:
            # On malformed scalars the parser raises whatever its own code trips over.
            raise _wrong(event, f"{_short(event.value)} is not a {kind}: {error}") from error
