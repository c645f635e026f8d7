"""Faults of files, told apart: missing, extra, changed, renamed, swapped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """One fault of a release.

    Attributes
    ----------
    kind : str
        `missing`, `extra`, `changed`, `renamed`, `swapped`, or `wrong` where files agree with
        each other and yet cannot be right.
    file : str
        Path from the release's root; of a member of a part, `part.tar: path`.
    detail : str
    """

    kind: str
    file: str
    detail: str


@dataclass
class Differences:
    """Files that are not as they should be.

    Attributes
    ----------
    expected : dict of str to str
        Hashes that files should have; of those that are right none is kept.
    found : dict of str to str
        Hashes that they have; what has none (it is a link, or cannot be read) says so instead.
    """

    expected: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)

    def forget(self, name: str) -> None:
        """Take out a file that is right."""
        del self.expected[name], self.found[name]

    def findings(self) -> list[Fault]:
        """Return one finding a fault, in the order of the names."""
        return sorted(self._findings(), key=lambda its: its.file)

    def _findings(self) -> Iterator[Fault]:
        belongs = {sha256: name for name, sha256 in sorted(self.expected.items())}
        extra = {name: self.found[name] for name in sorted(self.found.keys() - self.expected)}
        elsewhere: dict[str, list[str]] = {}
        for name, sha256 in extra.items():
            elsewhere.setdefault(sha256, []).append(name)
        told: set[str] = set()
        for name, sha256 in sorted(self.expected.items()):
            if name in told:
                continue
            if name not in self.found:
                places = elsewhere.get(sha256)
                if places:
                    told.add(places[0])
                    yield Fault("renamed", name, f"is now called {places.pop(0)}")
                else:
                    yield Fault("missing", name, "is not there")
                continue
            other = belongs.get(self.found[name])
            if other is not None and self.found.get(other) == sha256:
                told.add(other)
                yield Fault("swapped", name, f"has changed places with {other}")
            elif other is not None:
                yield Fault("changed", name, f"holds what belongs to {other}")
            else:
                yield Fault("changed", name, self._is(name, sha256))
        for name in extra:
            if name not in told:
                yield Fault("extra", name, "does not belong to the release")

    def _is(self, name: str, sha256: str) -> str:
        found = self.found[name]
        if len(found) != len(sha256):
            return found
        return f"SHA-256 is {found[:16]}..., not {sha256[:16]}..."
