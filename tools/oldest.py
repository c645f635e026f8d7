"""Print pip constraints that hold every requirement to the oldest version it allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
_OWN_EXTRAS = re.compile(r"uls-data\[([\w,]+)\]")


def oldest(requirements: list[str]) -> list[str]:
    """Constraints of the requirements that name a lower bound."""
    found = (re.match(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)", line) for line in requirements)
    return [f"{match[1]}=={match[2]}" for match in found if match]


def with_extras(name: str, extras: dict[str, list[str]]) -> list[str]:
    """Requirements of an extra, and of the extras of this package that it names."""
    found = []
    for requirement in extras[name]:
        own = _OWN_EXTRAS.fullmatch(requirement)
        if own is None:
            found.append(requirement)
        else:
            found += [line for one in own[1].split(",") for line in with_extras(one, extras)]
    return found


def main() -> None:
    """Constraints of what `make test` installs."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = with_extras("test", project["optional-dependencies"])
    print("\n".join(oldest([*project["dependencies"], *extras])))


if __name__ == "__main__":
    main()
