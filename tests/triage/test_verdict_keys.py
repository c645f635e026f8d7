"""Files of verdict keys: anybody writes them, so that all of it is checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from uls_data.cli import cli
from uls_data.triage.verdict_keys import KeysError, load_keys

ONE = "keys_version: 1\nverdicts:\n  - {key: v, verdict: rejected, reason: vessel}\n"


def test_the_default_set() -> None:
    found = {(v.key, v.verdict, v.reason) for v in load_keys().verdicts}
    assert ("l", "rejected", "leak") in found and ("y", "noted", "wrong type") in found
    assert {reason for *_, reason in found} == {
        *("leak", "shifted", "wrong type", "two lesions", "not a lesion")
    }


def test_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(ONE)
    (key,) = load_keys(path).verdicts
    assert (key.key, key.verdict, key.reason) == ("v", "rejected", "vessel")
    path.write_text("keys_version: 1\nverdicts: []\n")
    assert load_keys(path).verdicts == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected `keys_version: 1`"),
        ("- 1", "expected `keys_version: 1`"),
        ("keys_version: 1", "verdicts: Field required"),
        ("keys_version: 2\nverdicts: []", "keys_version"),
        (ONE.replace("key: v", "key: a"), "'a' is reserved for the page"),
        (ONE.replace("key: v", "key: V"), "verdicts.0.key"),
        (ONE.replace("key: v", "key: vv"), "verdicts.0.key"),
        (ONE.replace("rejected", "deleted"), "verdicts.0.verdict"),
        (ONE.replace("vessel", "'<b>vessel</b>'"), "verdicts.0.reason"),
        (ONE.replace("vessel", "'a | b'"), "verdicts.0.reason"),
        (ONE.replace("vessel", '"two\\nlines"'), "verdicts.0.reason"),
        (ONE.replace("vessel", '"ends\\n"'), "verdicts.0.reason"),
        (ONE.replace("vessel", "v" * 41), "verdicts.0.reason"),
        (ONE.replace("}", ", run: id}"), "verdicts.0.run"),
        (ONE + "  - {key: v, verdict: noted, reason: other}\n", "the key 'v' is there 2 times"),
        (ONE + "  - {key: p, verdict: noted, reason: vessel}\n", "the reason 'vessel'"),
        (ONE + "".join(ONE.splitlines(True)[2:]) * 12, "at most 10"),
        (ONE.replace("vessel", "!!python/object/apply:os.system [id]"), "tags"),
        ("a: &a [x]\nb: *a", "aliases"),
        ("[" * 3000, "nested deeper"),
        ("x" * (1 << 15), "larger than 16 KiB"),
        ("keys_version: 1\nkeys_version: 1", "duplicate field"),
        ("\x00", "not a character of a text"),
    ],
)
def test_what_is_no_file_of_keys_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(KeysError) as caught:
        load_keys(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path, out: Path) -> None:
    with pytest.raises(KeysError, match="cannot be read"):
        load_keys(tmp_path / "none.yaml")
    with pytest.raises(KeysError, match="cannot be read"):
        load_keys(tmp_path)
    result = CliRunner().invoke(cli, ["triage", str(out), "--keys", str(tmp_path / "none.yaml")])
    assert isinstance(result.exception, KeysError)
