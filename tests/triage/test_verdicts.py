"""Verdicts: the overlay holds what was decided last, whatever happened between."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from uls_data.errata import Correction, ErrataError, Kind, append, load_overlay
from uls_data.errata.evidence import WORDS
from uls_data.triage.verdicts import Subject, Verdict, Verdicts


def subject(name: str, layer: str = "annotated", digit: str = "a") -> Subject:
    return Subject("s", name, layer, digit * 64)


def by_hand(name: str, kind: Kind = Kind.NOTE) -> Correction:
    return Correction(
        kind=kind,
        source="s",
        voi_id=name,
        layer="annotated",
        reason="seen elsewhere",
        evidence="a picture",
        author="somebody",
        date="2024-01-01",
        before="a" * 64,
        after="a" * 64 if kind is Kind.NOTE else None,
    )


def test_a_verdict_is_a_correction_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "errata" / "triage.yaml"
    verdicts = Verdicts(path, "reader-1")
    verdicts.give(subject("a"), "accepted")
    verdicts.give(subject("b"), "rejected", " leaks into the wall ")
    verdicts.give(subject("c"), None, "look again")
    found = {c.voi_id: c for c in load_overlay(path).corrections}
    assert {name: (c.kind, c.reason) for name, c in found.items()} == {
        "a": (Kind.NOTE, "accepted"),
        "b": (Kind.DROP, "leaks into the wall"),
        "c": (Kind.NOTE, "look again"),
    }
    assert found["b"].after is None
    assert found["a"].author == "reader-1"
    assert Verdicts(path, "x").all() == verdicts.all()
    assert [verdict.word for verdict in verdicts.all().values()] == [
        "accepted",
        "rejected",
        "noted",
    ]


def test_the_later_verdict_wins_and_undo_goes_back_to_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"
    verdicts = Verdicts(path, "r")
    verdicts.give(subject("a"), "accepted", "fine")
    verdicts.give(subject("a"), "rejected")
    (correction,) = load_overlay(path).corrections
    assert (correction.kind, correction.reason) == (Kind.DROP, "fine"), "the note stays"
    assert verdicts.undo() == [("s", "a")]
    assert verdicts.of(("s", "a")) == Verdict("accepted", "fine", subject("a"))
    assert verdicts.undo() == [("s", "a")]
    assert verdicts.undo() == []
    assert load_overlay(path).corrections == ()


def test_a_reason_is_written_and_stays_with_a_later_note(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"
    verdicts = Verdicts(path, "r")
    verdicts.give(subject("a"), "rejected", None, "leak")
    verdicts.give(subject("a"), None, "into a vessel")
    (correction,) = load_overlay(path).corrections
    assert (correction.kind, correction.reason) == (Kind.DROP, "leak: into a vessel")
    assert correction.evidence == "seen in triage: rejected (leak)"
    again = Verdicts(path, "r").of(("s", "a"))
    assert again == Verdict("rejected", "into a vessel", subject("a"), "leak")
    verdicts.give(subject("a"), "accepted")
    assert verdicts.of(("s", "a")) == Verdict("accepted", "into a vessel", subject("a"))
    verdicts.give(subject("b"), "noted", None, "wrong type")
    assert Verdicts(path, "r").of(("s", "b")) == Verdict("noted", "", subject("b"), "wrong type")


def test_many_are_one_write_and_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "triage.yaml"
    append(path, by_hand("v7"))
    verdicts = Verdicts(path, "r")
    verdicts.give(subject("v3"), "accepted")
    writes = []
    monkeypatch.setattr(
        "uls_data.triage.verdicts.write_bytes",
        lambda where, data: (writes.append(len(data)), where.write_bytes(data)),
    )
    refused = verdicts.give_all(
        [*(subject(f"v{n}") for n in range(500)), subject("a|b")], "rejected", None, "leak"
    )
    assert len(writes) == 1
    assert {key[1] for key in refused} == {"v7", "a|b"}
    assert "other corrections" in refused["s", "v7"] and "voi_id" in refused["s", "a|b"]
    assert len(load_overlay(path).corrections) == 500
    assert [verdict.word for verdict in verdicts.all().values()] == ["rejected"] * 499
    assert {*verdicts.undo()} == {("s", f"v{n}") for n in range(500) if n != 7}
    assert len(writes) == 2
    assert [c.voi_id for c in load_overlay(path).corrections] == ["v7", "v3"]
    assert verdicts.of(("s", "v3")) == Verdict("accepted", "", subject("v3"))


def test_what_a_crash_left_can_be_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"
    Verdicts(path, "r").give(subject("a"), "accepted")
    Verdicts(path, "r").give(subject("b"), "rejected")
    again = Verdicts(path, "r")
    assert again.undo() == [("s", "b")]
    assert [c.voi_id for c in load_overlay(path).corrections] == ["a"]


def test_what_stands_there_by_hand_stays(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"
    append(path, by_hand("x", Kind.DROP), title="By hand")
    path.write_text("# first\n" + path.read_text() + "# about y\n")
    verdicts = Verdicts(path, "r")
    verdicts.give(subject("a"), "accepted")
    append(path, by_hand("y"))  # while the server runs
    verdicts.give(subject("b"), "rejected")
    verdicts.undo()
    text = path.read_text()
    assert text.startswith("# first\n")
    assert "# about y\n" in text
    assert load_overlay(path).title == "By hand"
    assert [c.voi_id for c in load_overlay(path).corrections] == ["x", "a", "y"]
    with pytest.raises(ErrataError, match="other corrections"):
        verdicts.give(subject("x"), "accepted")


def test_of_many_those_without_corrections_by_hand_are_cleared(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"
    verdicts = Verdicts(path, "r")
    assert verdicts.clear([("s", "a")]) == {} and not path.exists()
    append(path, by_hand("x"))
    verdicts.give_all([subject("a"), subject("b")], "accepted")
    refused = verdicts.clear([("s", name) for name in "axb"])
    assert [*refused] == [("s", "x")] and "other corrections" in refused["s", "x"]
    assert [c.voi_id for c in load_overlay(path).corrections] == ["x"]
    with pytest.raises(ErrataError, match="other corrections"):
        verdicts.clear([("s", "x")])
    assert {*verdicts.undo()} == {("s", "a"), ("s", "b")}
    assert {*verdicts.all()} == {("s", "a"), ("s", "b")}


def test_an_overlay_in_another_style_is_kept_in_content(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"
    append(path, by_hand("x"))
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content, default_flow_style=True))
    Verdicts(path, "r").give(subject("a"), "accepted")
    assert [c.voi_id for c in load_overlay(path).corrections] == ["x", "a"]


@pytest.mark.parametrize("note", ["two\nlines", "a | b", "x" * 1001, "\x1b[31m"])
def test_a_note_that_an_overlay_cannot_hold_is_refused(tmp_path: Path, note: str) -> None:
    path = tmp_path / "triage.yaml"
    verdicts = Verdicts(path, "r")
    with pytest.raises(ErrataError, match="reason"):
        verdicts.give(subject("a"), "accepted", note)
    assert not path.exists()
    assert verdicts.undo() == []


def test_wrong_names_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ErrataError, match="author"):
        Verdicts(tmp_path / "triage.yaml", "someone@example.org")
    with pytest.raises(ErrataError, match="small letter"):
        Verdicts(tmp_path / "Tri age.yaml", "r")
    with pytest.raises(ErrataError, match="empty note"):
        Verdicts(tmp_path / "triage.yaml", "r").give(subject("a"), None, " ")


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"

    def write(first: str) -> None:
        verdicts = Verdicts(path, "r")
        for number in range(15):
            verdicts.give(subject(f"{first}{number}"), "accepted")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [c.voi_id for c in load_overlay(path).corrections]
    assert sorted(names) == sorted(f"{first}{n}" for first in "abc" for n in range(15))


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(WORDS), st.sampled_from(["", "why", None])
        ),
        st.just("undo"),
        st.just("restart"),
        st.tuples(st.just("clear"), st.sampled_from("abc")),
    ),
    max_size=12,
)


@given(STEPS)
def test_the_file_says_what_a_simple_model_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[object]
) -> None:
    path = tmp_path_factory.mktemp("model") / "triage.yaml"
    verdicts = Verdicts(path, "r")
    model: dict[str, tuple[str, str]] = {}
    done: list[tuple[str, tuple[str, str] | None]] = []
    for step in steps:
        match step:
            case "restart":
                verdicts = Verdicts(path, "r")
            case "undo":
                keys = verdicts.undo()
                assert bool(keys) == bool(done)
                if done:
                    name, before = done.pop()
                    model.pop(name, None)
                    if before is not None:
                        model[name] = before
            case "clear", name:
                verdicts.clear([("s", name)])
                if name in model:
                    done.append((name, model.pop(name)))
            case name, word, note:
                before = model.get(name)
                said = (before[1] if before else "") if note is None else note
                if word == "noted" and not said:
                    with pytest.raises(ErrataError):
                        verdicts.give(subject(name), word, note)
                    continue
                verdicts.give(subject(name), word, note)
                done.append((name, before))
                model.pop(name, None)
                model[name] = word, said
    found = [Verdict.of(c) for c in (load_overlay(path).corrections if path.exists() else ())]
    assert [(v.subject.voi_id, (v.word, v.note)) for v in found if v] == list(model.items())


def test_after_a_crash_a_step_on_many_is_taken_back_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"
    verdicts = Verdicts(path, "ann")
    verdicts.give(subject("a"), "accepted", "fine")
    first = path.read_bytes()
    verdicts.give_all([subject(name) for name in "abcd"], "rejected", None, "leak")
    second = path.read_bytes()
    verdicts.clear([("s", name) for name in "bc"])
    verdicts.give(subject("e"), "accepted")
    verdicts.undo()
    # Somebody else continues: what is taken back is as Ann wrote it.
    again = Verdicts(path, "ben")
    assert {*again.undo()} == {("s", "b"), ("s", "c")}
    assert sorted(load_overlay(path).corrections, key=lambda c: c.voi_id) == sorted(
        overlay_of(second, tmp_path), key=lambda c: c.voi_id
    )
    third = Verdicts(path, "ben")
    assert {*third.undo()} == {("s", name) for name in "abcd"}
    assert path.read_bytes() == first
    assert third.undo() == [("s", "a")] and third.undo() == []


def overlay_of(data: bytes, folder: Path) -> tuple[Correction, ...]:
    path = folder / "triage-copy.yaml"
    path.write_bytes(data)
    return load_overlay(path).corrections


def test_a_crash_between_journal_and_overlay_leaves_a_step_that_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "triage.yaml"
    Verdicts(path, "r").give_all([subject("a"), subject("b")], "accepted")
    whole = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("uls_data.triage.verdicts.write_bytes", full)
    broken = Verdicts(path, "r")
    with pytest.raises(ErrataError, match="No space left"):
        broken.give_all([subject("a"), subject("b"), subject("c")], "rejected")
    monkeypatch.undo()
    assert path.read_bytes() == whole
    assert {*Verdicts(path, "r").undo()} == {("s", "a"), ("s", "b")}
    path.write_bytes(whole)
    assert {*broken.undo()} == {("s", "a"), ("s", "b")}
    assert load_overlay(path).corrections == ()


def test_steps_of_an_overlay_that_somebody_edited_are_taken_back_as_far_as_they_hold(
    tmp_path: Path,
) -> None:
    path = tmp_path / "triage.yaml"
    verdicts = Verdicts(path, "r")
    verdicts.give_all([subject("a"), subject("b")], "accepted")
    verdicts.give_all([subject("c"), subject("d")], "rejected")
    path.write_text(path.read_text().replace("reason: accepted", "reason: good", 1))
    again = Verdicts(path, "r")
    assert {*again.undo()} == {("s", "c"), ("s", "d")}
    assert again.undo() == [("s", "b")], "alone, as its step does not lead here"
    assert again.undo() == [("s", "a")] and again.undo() == []


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[1]",
        b'{"step": 5}',
        b'{"step": "x", "before": [["s", "a"]], "after": "y"}',
        b'{"step": "x", "before": {"s": "a"}, "after": "y"}',
        b'{"undone": ["x"]}',
        b"\xff" * 100,
    ],
)
def test_a_journal_that_is_spoilt_costs_no_verdict(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "triage.yaml"
    Verdicts(path, "r").give_all([subject("a"), subject("b")], "accepted")
    journal = tmp_path / "triage-steps.jsonl"
    journal.write_bytes(line + b"\n" + journal.read_bytes() + line)
    verdicts = Verdicts(path, "r")
    assert len(verdicts.all()) == 2
    assert {*verdicts.undo()} == {("s", "a"), ("s", "b")}


def test_what_a_journal_says_was_there_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"
    verdicts = Verdicts(path, "r")
    verdicts.give(subject("a"), "accepted")
    verdicts.give(subject("a"), "rejected")
    journal = tmp_path / "triage-steps.jsonl"
    journal.write_text(journal.read_text().replace("kind: note", "kind: !!python/name:os.system x"))
    held = path.read_bytes()
    with pytest.raises(ErrataError, match="the last step cannot be taken back"):
        Verdicts(path, "r").undo()
    assert path.read_bytes() == held


def test_a_long_journal_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "triage.yaml"
    verdicts = Verdicts(path, "r")
    for _ in range(50):
        verdicts.give_all([subject("a"), subject("b")], "accepted")
        verdicts.undo()
    verdicts.give_all([subject("a"), subject("b")], "accepted")
    monkeypatch.setattr("uls_data.triage.steps._LONGEST_BYTES", 1000)
    journal = tmp_path / "triage-steps.jsonl"
    assert len(journal.read_bytes().splitlines()) > 100
    Verdicts(path, "r")
    assert len(journal.read_bytes().splitlines()) == 1
    assert {*Verdicts(path, "r").undo()} == {("s", "a"), ("s", "b")}
