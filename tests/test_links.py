"""Links are followed, and loops are an error on every Python."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from uls_data.io.links import real_path


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("absent")
    assert real_path(tmp_path / "link") == (tmp_path / "file").resolve()
    assert real_path(tmp_path / "broken") == tmp_path.resolve() / "absent"


@pytest.mark.parametrize("tail", ["", "below"])
def test_a_loop_is_an_error(tmp_path: Path, tail: str) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="links") as caught:
        real_path(tmp_path / "one" / tail)
    assert caught.value.errno == errno.ELOOP
