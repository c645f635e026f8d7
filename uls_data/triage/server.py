"""What the server of VOIs shows, and the verdicts that it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from uls_data.errata import ErrataError
from uls_data.errata.evidence import NOTED
from uls_data.errors import ManifestError
from uls_data.manifest.query import unknown_words
from uls_data.triage.curators import Curators
from uls_data.triage.editing import Editor
from uls_data.triage.guarded import GuardedHandler, GuardedServer
from uls_data.triage.outline import PLANES
from uls_data.triage.shown import Lesions
from uls_data.triage.states import JUDGED, KEPT, STATES, UNDECIDED, letter_of, meets
from uls_data.triage.steps import Key
from uls_data.triage.verdict_keys import VerdictKeys
from uls_data.triage.verdicts import Subject, Verdicts
from uls_data.triage.views import Views
from uls_data.triage.voi_layers import compared
from uls_data.triage.vois import PRESETS_HU
from uls_data.triage.wall import Wall
from uls_data.voi import VOI_SHAPE


class TriageServer(GuardedServer):
    """Serves the VOIs of a build and takes verdicts.

    Attributes
    ----------
    address : str
        To open in a browser, with the token.
    lesions : Lesions
    wall : Wall
    verdicts : Verdicts
    keys : VerdictKeys
    saved : Views
    editor : Editor
    curators : Curators
        Whose masks are shown, for the person who adjudicates.
    """

    def __init__(
        self,
        lesions: Lesions,
        verdicts: Verdicts,
        keys: VerdictKeys,
        editor: Editor,
        curators: Curators,
        handler: type[GuardedHandler],
        port: int = 0,
    ) -> None:
        self.lesions, self.verdicts, self.keys = lesions, verdicts, keys
        self.editor, self.curators = editor, curators
        self.wall = Wall(lesions)
        self.saved = Views(verdicts.path.with_name(f"{verdicts.path.stem}-views.json"))
        super().__init__(handler, port)

    def counts(self) -> Counter[str]:
        """How many of the VOIs shown are accepted, rejected and noted."""
        letters = Counter(self.states()["states"])
        counts = Counter({word: letters[letter] for word, letter in STATES.items()})
        counts[NOTED] += letters[KEPT]
        return counts

    def states(self) -> dict[str, Any]:
        """One letter for each VOI, the reasons of those that have one, and which were edited."""
        with self.lock:
            verdicts = self.verdicts.all()
        letters = bytearray(UNDECIDED.encode() * len(self.lesions))
        reasons = {}
        for key, number in self.lesions.numbers(verdicts).items():
            verdict = verdicts[key]
            letters[number] = ord(letter_of(verdict, self.lesions.subject(number)))
            if verdict.reason:
                reasons[number] = verdict.reason
        return {"states": letters.decode(), "reasons": reasons, "edited": self.lesions.edited()}

    def session(self) -> dict[str, Any]:
        """Return what the page asks for first."""
        return {
            "run": self.run,
            **self.states(),
            "shape": VOI_SHAPE,
            "planes": PLANES,
            "windows_hu": PRESETS_HU,
            "keys": [key.model_dump() for key in self.keys.verdicts],
            "overlay": str(self.verdicts.path),
            "author": self.verdicts.author,
            "curators": self.curators.names,
        }

    def voi(self, number: int) -> dict[str, Any]:
        """One VOI, with its verdict."""
        voi = self.lesions.voi(number)
        with self.lock:
            verdict = self.verdicts.of(self.lesions.subject(number).key)
        return {"number": number, "note": verdict.note if verdict else "", **voi.shown()}

    def layers(self, number: int) -> dict[str, Any]:
        """All masks of a VOI, those of the curators last, see `compared`."""
        found = self.lesions.layers(number)
        return compared([*found, *self.curators.layers(self.lesions.built(number), found[0].row)])

    def found(self, where: str, column: str | None, descending: bool) -> dict[str, Any]:
        """VOIs that meet an expression, in their order."""
        numbers = self.lesions.found(where, column, descending=descending)
        return {"numbers": numbers, "hints": unknown_words(where)}

    def views(self) -> list[dict[str, Any]]:
        """Return the views that were kept; how many VOIs each shows, and how many are judged."""
        with self.lock:
            views = self.saved.all()
        told = self.states()
        states, reasons = told["states"], told["reasons"]
        found = []
        for view in views:
            try:
                numbers = self.lesions.found(view.where)
            except ManifestError:
                # The manifest may have been another one when it was kept.
                numbers = []
            shown = [n for n in numbers if meets(view.show, states[n], reasons.get(n))]
            judged = sum(states[n] in JUDGED for n in shown)
            found.append({**view.model_dump(), "count": len(shown), "judged": judged})
        return found

    def keep_view(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Keep a view (`save`), or forget one (`remove`: its name)."""
        with self.lock:
            if "save" in body:
                self.saved.keep(body["save"])
            else:
                self.saved.remove(str(body.get("remove")))
        return self.views()

    def judge(
        self, numbers: Sequence[int], word: str | None, note: str | None = None, reason: str = ""
    ) -> dict[str, Any]:
        """Take a verdict on VOIs, which one step takes back; word `none` removes it.

        Returns
        -------
        dict
            `changed`: number, letter and reason of the VOIs judged; `refused`: number of those
            that could not be, and why; `reload`: another process changed the overlay.

        Raises
        ------
        ErrataError
            None of them can be judged.
        """
        if word == "none":
            return self._clear({self.lesions.subject(number).key: number for number in numbers})
        if len(numbers) == 1:
            # It is on the screen, so that it is decoded already.
            voi = self.lesions.voi(numbers[0])
            told = {numbers[0]: voi.subject or " ".join(voi.problems)}
        else:
            told = self.lesions.described(numbers)
        subjects = {n: found for n, found in told.items() if isinstance(found, Subject)}
        refused = {n: why for n, why in told.items() if isinstance(why, str)}
        if not subjects:
            raise ErrataError(f"no verdict: {next(iter(refused.values()))}")

        def give() -> None:
            left_out = self.verdicts.give_all(subjects.values(), word, note, reason)
            for number, subject in [*subjects.items()]:
                if subject.key in left_out:
                    refused[number] = left_out[subject.key]
                    del subjects[number]

        return self._changed(subjects, refused, give)

    def _clear(self, numbers: dict[Key, int]) -> dict[str, Any]:
        refused: dict[int, str] = {}

        def clear() -> None:
            for key, why in self.verdicts.clear(numbers).items():
                refused[numbers.pop(key)] = why

        return self._changed(numbers.values(), refused, clear)

    def edit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Save an edited mask, see `Editor.save`; a verdict on the previous mask is removed."""
        with self.lock:
            told = self.editor.save(body)
            return {**told, "verdict_removed": self._remove_outdated(told["number"])}

    def take_mask(self, number: int, name: str) -> dict[str, Any]:
        """Judge the mask of a curator instead, or the one that was built where `name` is empty.

        Answers as `judge`. It is an edit, see `edit`.

        Raises
        ------
        ErrataError, CaseError
            The curator has no mask of that VOI, or it is refused.
        """
        taken = self.curators.mask(name, self.lesions.built(number)) if name else None

        def take() -> None:
            self.editor.take(number, taken, name)
            self._remove_outdated(number)

        return self._changed([number], {}, take) | {"reload": True}

    def _remove_outdated(self, number: int) -> bool:
        """Remove a verdict on the mask before; whether there was one."""
        subject = self.lesions.subject(number)
        verdict = self.verdicts.of(subject.key)
        if verdict is None or verdict.subject == subject:
            return False
        # The edit is saved, whatever becomes of the verdict, which is outdated if it stays.
        with suppress(ErrataError):
            self.verdicts.clear({subject.key})
            return True
        return False

    def undo(self) -> dict[str, Any]:
        """Take back the last step; answers as `judge`."""
        numbers: list[int] = []

        def take_back() -> None:
            keys = self.verdicts.undo()
            if not keys:
                raise ErrataError("nothing to undo")
            numbers.extend(self.lesions.numbers(keys).values())

        return self._changed(numbers, {}, take_back)

    def _changed(
        self, numbers: Iterable[int], refused: Mapping[int, str], change: Callable[[], None]
    ) -> dict[str, Any]:
        with self.lock:
            readings = self.verdicts.readings
            change()
            verdicts = self.verdicts.all()
            reload = self.verdicts.readings != readings
        changed = []
        for number in numbers:
            subject = self.lesions.subject(number)
            verdict = verdicts.get(subject.key)
            reason = verdict.reason if verdict else ""
            changed.append((number, letter_of(verdict, subject), reason))
        return {"changed": changed, "refused": [*refused.items()], "reload": reload}
