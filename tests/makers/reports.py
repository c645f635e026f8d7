"""Made-up radiology reports in English and Dutch, with their truth marked (see `report_truth`).

Written from how reports are written, not from the lexicons: no list of the product is imported.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from makers import report_phrases_en as en
from makers import report_phrases_nl as nl

PHRASES = {"en": en, "nl": nl}


def made_up_report(language: str, number: int) -> str:
    """One report, the same for the same number."""
    return _Writer(language, random.Random(f"{language} {number}")).report()


class _Writer:
    def __init__(self, language: str, draws: random.Random) -> None:
        self.words = PHRASES[language]
        self.comma = language == "nl"
        self.draws = draws
        # One habit per report: radiologists keep to a way of writing references.
        self.way = draws.choice(self.words.REFERENCES)
        self.series = draws.sample([2, 3, 4, 5, 6, 8, 201, 204, 301, 601], 3)

    def pick(self, options: Sequence[str]) -> str:
        return self.draws.choice(options)

    def chance(self, share: float) -> bool:
        return self.draws.random() < share

    # sizes

    def number(self, mm: float, unit: str) -> str:
        if unit == "mm":
            return f"{mm:g}"
        text = f"{mm / 10:.1f}"
        text = text.removesuffix(".0") if self.chance(0.3) else text
        return text.replace(".", ",") if self.comma else text

    def size(self, axes: int = 0) -> tuple[str, str]:
        """Size as written, and its axes in mm."""
        count = axes or self.draws.choices([1, 2, 3], [6, 5, 1])[0]
        largest = self.draws.choice([self.draws.randint(5, 20), self.draws.randint(21, 90)])
        values = [float(largest)]
        while len(values) < count:
            values.append(float(self.draws.randint(max(3, int(values[-1] * 0.6)), int(values[-1]))))
        if count == 3:
            self.draws.shuffle(values)
        unit = self.pick(["mm", "mm", "cm"])
        said = [self.number(value, unit) for value in values]
        by = self.pick(self.words.BY)
        blank = self.pick([" ", " ", " ", ""])
        name = unit
        if self.chance(0.06):
            name = self.words.LONG_UNITS[unit]
            blank = " "
        if count > 1 and self.chance(0.15):
            text = by.join(f"{one}{blank}{name}" for one in said)
        else:
            text = by.join(said) + blank + name
        if count == 1 and self.chance(0.08):
            low = max(1.0, values[0] - self.draws.randint(1, 2))
            if unit == "mm" and low < values[0]:
                text = self.number(low, unit) + self.pick(self.words.RANGE) + text
        return text, "x".join(f"{value:g}" for value in values)

    def reference(self) -> tuple[str, str]:
        series, image = self.pick([str(one) for one in self.series]), self.draws.randint(4, 480)
        text = self.way.format(s=series, i=image, letter=self.pick(["", "", "b"]))
        return text, f"{series}/{image}"

    def mark(
        self, kind: str, *, ref: str = "-", was: str = "", target: str = "", axes: int = 0
    ) -> str:
        text, values = self.size(axes)
        return f"⟦{text}|{values}|{ref}|{kind}|{was}|{target}⟧"

    # sentences

    def place(self, kind: str) -> str:
        return self.pick(self.words.PLACES[kind])

    def lesion(self) -> str:
        """A sentence with one measured lesion or more."""
        template, kinds = self.draws.choice(self.words.LESIONS)
        return self.filled(template, kinds.split())

    def filled(self, template: str, kinds: Sequence[str], target: str = "") -> str:
        """Template whose {S} is a size, {R} its reference, {P} a size of before, {L} a place."""
        pieces = template.split("{")
        text = pieces[0]
        lesions: list[dict[str, str]] = []
        # References and sizes of before may stand before their size: drawn first.
        wanted = max(1, sum(piece.startswith("S") for piece in pieces[1:]))
        for number in range(wanted):
            kind = kinds[number % len(kinds)]
            named = f"R{number + 1 if wanted > 1 else ''}}}"
            earlier = f"P{number + 1 if wanted > 1 else ''}}}"
            entry = {"kind": kind, "ref": "-", "R": "", "was": "", "P": ""}
            if any(piece.startswith(named) for piece in pieces[1:]):
                entry["R"], entry["ref"] = self.reference()
            if any(piece.startswith(earlier) for piece in pieces[1:]):
                entry["P"], entry["was"] = self.size(self.draws.choice([1, 2]))
            lesions.append(entry)
        for piece in pieces[1:]:
            name, _, rest = piece.partition("}")
            code, number = name[0], int(name[1:] or 1) - 1
            entry = lesions[min(number, len(lesions) - 1)]
            if code == "S":
                text += self.mark(entry["kind"], ref=entry["ref"], was=entry["was"], target=target)
            elif code == "T":  # a size with two axes
                text += self.mark(
                    entry["kind"], ref=entry["ref"], was=entry["was"], target=target, axes=2
                )
            elif code in "RP":
                text += entry[code]
            elif code == "L":
                text += self.place(entry["kind"])
            elif code == "N":
                text += str(self.draws.randint(2, 60))
            elif code == "D":
                text += self.pick(self.words.DATES)
            text += rest
        return text[0].upper() + text[1:]

    def trap(self) -> str:
        """A sentence with numbers and no lesion of now."""
        text = self.pick(self.words.TRAPS)
        for code, draw in self._numbers().items():
            while f"{{{code}}}" in text:
                text = text.replace(f"{{{code}}}", draw(), 1)
        return text

    def _numbers(self) -> dict[str, Callable[[], str]]:
        return {
            "mm": lambda: f"{self.draws.randint(3, 19)} mm",
            "cm": lambda: self.number(self.draws.randint(30, 170), "cm") + " cm",
            "n": lambda: str(self.draws.randint(2, 60)),
            "D": lambda: self.pick(self.words.DATES),
        }

    # reports

    def report(self) -> str:
        body = self.draws.choices(
            [self.prose, self.recist, self.table, self.bullets], [6, 2, 1, 2]
        )[0]()
        parts = [self.pick(self.words.OPENINGS), *self.technique(), body]
        if self.chance(0.5):
            parts.append(self.pick(self.words.CONCLUSIONS))
        text = self.pick(["\n\n", "\n\n", "\n"]).join(parts)
        width = self.draws.choice([0, 0, 68, 76, 90])
        text = wrapped(text, width) if width else text
        if self.chance(0.15):
            text = text.replace(" x ", " × ")
        return text

    def technique(self) -> list[str]:
        said = self.draws.sample(self.words.TECHNIQUE, 2)
        return [one.replace("{n}", str(self.draws.randint(2, 9))) for one in said]

    def prose(self) -> str:
        paragraphs = []
        for _ in range(self.draws.randint(1, 4)):
            count = self.draws.randint(2, 6)
            said = [self.lesion() if self.chance(0.5) else self.trap() for _ in range(count)]
            paragraphs.append(" ".join(said))
        head = self.pick(self.words.FINDINGS)
        return f"{head}\n" + self.pick(["\n", "\n\n"]).join(paragraphs)

    def bullets(self) -> str:
        bullet = self.pick(["- ", "* ", "{} ", "{}. ", "{}) "])
        lines = []
        for number in range(1, self.draws.randint(3, 8)):
            said = self.lesion() if self.chance(0.6) else self.trap()
            lines.append(bullet.replace("{}", str(number)).replace(f"{number} ", "• ", 1) + said)
        return f"{self.pick(self.words.FINDINGS)}\n" + "\n".join(lines)

    def recist(self) -> str:
        lines = [self.pick(self.words.TARGET_HEADS)]
        way = self.pick(self.words.ITEMS)
        for number in range(1, self.draws.randint(2, 6)):
            kind = self.pick(list(self.words.PLACES))
            lines.append(self.filled(way.replace("#", str(number)), [kind], target="target"))
        lines.append(self.pick(self.words.SUMS).replace("{n}", str(self.draws.randint(40, 200))))
        lines.append("")
        lines.append(self.pick(self.words.NON_TARGET_HEADS))
        lines += self.draws.sample(self.words.NON_TARGETS, 2)
        lines.append("")
        lines.append(self.pick(self.words.FINDINGS))
        lines += [self.lesion() if self.chance(0.4) else self.trap() for _ in range(3)]
        return "\n".join(lines)

    def table(self) -> str:
        by = self.pick([" | ", "\t", "  |  "])
        names = list(self.draws.choice(self.words.TABLE_HEADS))
        rows = [by.join(name for _, name in names)]
        for number in range(1, self.draws.randint(3, 6)):
            kind = self.pick(list(self.words.PLACES))
            long_mm, was = self.draws.randint(10, 80), self.draws.randint(10, 80)
            short_mm = self.draws.randint(5, long_mm)
            series, image = self.draws.choice(self.series), self.draws.randint(5, 400)
            previous = str(was) if any(key == "was" for key, _ in names) else ""
            size = (
                f"⟦{long_mm} x {short_mm}|{long_mm}x{short_mm}|{series}/{image}|{kind}|{previous}⟧"
            )
            cells = {
                "nr": str(number), "where": self.place(kind), "size": size, "was": str(was),
                "series": str(series), "image": str(image), "both": f"{series}/{image}",
            }  # fmt: skip
            rows.append(by.join(cells[key] for key, _ in names))
        lead = self.pick(self.words.TABLE_LEADS)
        return lead + "\n\n" + "\n".join(rows) + "\n\n" + self.trap()


def wrapped(text: str, width: int) -> str:
    """Text with lines broken at a width, as old systems do; marks have no width."""
    out, column, hidden, last = [], 0, False, -1
    for letter in text:
        out.append(letter)
        if letter == "⟦":
            continue
        if letter == "|" and "⟦" in "".join(out[-40:]) and not hidden and _in_mark(out):
            hidden = True
        if letter == "⟧":
            hidden = False
            continue
        if hidden:
            continue
        if letter == "\n":
            column, last = 0, -1
            continue
        column += 1
        if letter == " ":
            last = len(out) - 1
            if column > width:
                out[last] = "\n"
                column = 0
    return "".join(out)


def _in_mark(out: list[str]) -> bool:
    text = "".join(out[-60:])
    return text.rfind("⟦") > text.rfind("⟧")
