"""The one loader of files that ship with the package: recipes and schemas.

In a checkout they are beside the package, at the top of the repository; in an
installed wheel, in `uls_data/shipped`.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(*parts: str) -> Path:
    """Path of a shipped file or folder, such as `shipped("recipes", "lits")`.

    Raises
    ------
    FileNotFoundError
        The installation lacks it: neither the wheel's copy nor a checkout's.
    """
    for root in (_PACKAGE / "shipped", _PACKAGE.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"not shipped with this installation: {'/'.join(parts)}")
