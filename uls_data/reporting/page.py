"""The page itself: one HTML file that needs no network and runs no script but its own.

Whatever comes from a manifest is hostile until escaped: text of the page goes through
`html.escape`, data for the script through JSON in a block that no browser executes, and the
policy in the head allows the page's own script and style alone, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from uls_data.manifest.row import Row
from uls_data.reporting.figures import Figure
from uls_data.reporting.outliers import Ranking
from uls_data.tables import Record

_ASSETS = Path(__file__).parent / "assets"
_MOST_CASES = 200
_DIGITS = 6


@dataclass
class Page:
    """What a page shows.

    Attributes
    ----------
    title, about : str
    numbers : list of (str, int)
        Headline: what, how many.
    built, reasons, stats : list of dict
        As `uls_data.reporting.outcomes` and `uls_data.manifest.stats` give them.
    figures : list of Figure
    rankings : list of Ranking
        Their rows are those of `columns`.
    columns : mapping of str to list
        All rows by column; text, number, bool or null.
    pictures : list of str or None
        Of each row: base64 of a JPEG, or a path relative to the page.
    embedded : bool
        Which of the two.
    captions : list of str
        Columns written below a picture.
    files : str
        Folder of plots and tables, relative to the page.
    scripts : tuple of str
        Further scripts, as text, that run after the page's own.
    """

    title: str
    about: str
    numbers: list[tuple[str, int]]
    built: list[Record]
    reasons: list[Record]
    stats: list[Record]
    figures: list[Figure]
    rankings: list[Ranking]
    columns: Mapping[str, Sequence[Any]]
    pictures: Sequence[str | None]
    embedded: bool
    captions: list[str]
    files: str
    scripts: tuple[str, ...] = field(default=())


def render(page: Page) -> str:
    """Return the page as HTML."""
    style = (_ASSETS / "report.css").read_text(encoding="utf-8")
    scripts = [(_ASSETS / "report.js").read_text(encoding="utf-8"), *page.scripts]
    images = "data:" if page.embedded else "data: 'self' file:"
    policy = "; ".join(
        (
            "default-src 'none'",
            f"img-src {images}",
            f"style-src {_hash(style)}",
            f"script-src {' '.join(map(_hash, scripts))}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    body = "".join(
        (
            _head(page),
            "<main>",
            _overview(page),
            _not_built(page),
            _plots(page, "built", "What was built"),
            _plots(page, "quality", "How good the pseudo-masks are"),
            _outliers(page),
            _lesions(),
            "</main>",
            _DETAILS,
        )
    )
    data = {
        "embedded": page.embedded,
        "captions": page.captions,
        "columns": [_column(name, values) for name, values in page.columns.items()],
        "pictures": list(page.pictures),
    }
    # `</script>` must not end the block, whatever a manifest says.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(page.title)}</title>\n<style>{style}</style>\n</head>\n"
        f'<body>{body}\n<script type="application/json" id="data">{text}</script>\n'
        + "".join(f"<script>{script}</script>\n" for script in scripts)
        + "</body>\n</html>\n"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _column(name: str, values: Sequence[Any]) -> Record:
    """One column as the script reads it: numbers, or texts and which of them each row has."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        return {"name": name, "numbers": [_number(value) for value in values]}
    texts: dict[str, int] = {}
    codes = [
        -1 if value is None else texts.setdefault(_text(value), len(texts)) for value in values
    ]
    return {"name": name, "texts": list(texts), "codes": codes}


def _number(value: Any) -> Any:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _head(page: Page) -> str:
    names = ["overview", "not-built", "built", "quality", "outliers", "lesions"]
    titles = ["Overview", "Not built", "Figures", "Pseudo-masks", "Outliers", "All lesions"]
    shown = {figure.section for figure in page.figures}
    links = "".join(
        f'<a href="#{name}">{title}</a>'
        for name, title in zip(names, titles, strict=True)
        if name not in ("built", "quality") or name in shown
    )
    return (
        f"<header><strong>uls-data report</strong><nav>{links}</nav>"
        '<button id="theme" type="button">theme</button></header>'
    )


def _overview(page: Page) -> str:
    boxes = "".join(
        f"<li><b{_bad(name, number)}>{number:,}</b>{escape(name)}</li>"
        for name, number in page.numbers
    )
    built = _table(
        page.built,
        {
            "source": "source",
            "vois": "VOIs",
            "patients": "patients",
            "series": "series",
            "series_expected": "expected",
            "lesions": "lesions",
            "lesions_expected": "expected",
            "long_axis": "long axis px",
            "long_axis_expected": "expected",
            "short_axis": "short axis px",
            "short_axis_expected": "expected",
            "skipped": "skipped",
            "failed": "failed",
        },
    )
    table_1 = _table(
        [
            {
                **row,
                "long": _mean_std(row, "long"),
                "short": _mean_std(row, "short"),
            }
            for row in page.stats
        ],
        {
            "source": "source",
            "layer": "layer",
            "patients": "patients",
            "series": "series",
            "lesions": "lesions",
            "heldout": "held-out",
            "long": "long axis px",
            "short": "short axis px",
            "skipped": "skipped",
            "failed": "failed",
        },
    )
    return (
        f'<h1>{escape(page.title)}</h1><p class="soft">{escape(page.about)}</p>'
        f'<ul class="numbers">{boxes}</ul>'
        '<section id="overview"><h2>What was built, against what the recipes expect</h2>'
        '<p class="soft">Expected: the paper\'s Table 1 for the whole source; no expectation for '
        f"sources of one's own. Axes: mean over lesions, pixels.</p>{built}"
        f"<h3>Table 1 of this build</h3>{table_1}</section>"
    )


def _bad(name: str, number: int) -> str:
    return ' class="bad"' if name.startswith("failed") and number else ""


def _mean_std(row: Record, axis: str) -> str | None:
    mean, std = row[f"{axis}_mean"], row[f"{axis}_std"]
    if mean != mean:
        return None
    return f"{mean:.2f}" + (f" ± {std:.2f}" if std == std else "")


def _table(rows: Sequence[Record], columns: Mapping[str, str]) -> str:
    numeric = {
        name
        for name in columns
        if all(row.get(name) is None or not isinstance(row[name], str) for row in rows)
        or name in ("long", "short")
    }
    head = "".join(
        f"<th{_right(name in numeric)}>{escape(title)}</th>" for name, title in columns.items()
    )
    lines = "".join(
        "<tr>"
        + "".join(f"<td{_right(name in numeric)}>{_cell(row.get(name))}</td>" for name in columns)
        + "</tr>"
        for row in rows
    )
    body = f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody>"
    return f'<div class="wide"><table>{body}</table></div>'


def _right(number: bool) -> str:
    return ' class="number"' if number else ""


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _not_built(page: Page) -> str:
    if not page.reasons:
        text = "<p>Every row is ok: nothing was skipped, nothing failed.</p>"
    else:
        text = "".join(_reason(group) for group in page.reasons)
    return f'<section id="not-built"><h2>Skipped and failed, by reason</h2>{text}</section>'


def _reason(group: Record) -> str:
    members: Sequence[Row] = group["rows"]
    conditions = [
        {"column": name, "operator": "is", "operand": group[name]} for name in ("status", "reason")
    ]
    lines = "".join(
        f"<tr><td>{_cell(row['source'])}</td><td>{_cell(row['case_id'])}</td>"
        f"<td>{_cell(row['lesion_index'])}</td>"
        f"<td>{_cell(row['layer'])}</td>"
        f'<td class="detail">{_cell(row["detail"])}</td></tr>'
        for row in members[:_MOST_CASES]
    )
    more = len(members) - _MOST_CASES
    rest = f"<p>... and {more:,} more; the button shows them all.</p>" if more > 0 else ""
    mark = ' class="bad"' if group["status"] == "failed" else ""
    return (
        f"<details><summary><span{mark}>{escape(group['status'])}</span>, "
        f"{escape(group['reason'])}: {len(members):,}</summary>"
        f'<p><button type="button" data-filter="{escape(json.dumps(conditions))}">'
        "show these rows below</button></p>"
        '<div class="wide"><table><thead><tr><th>source</th><th>case</th><th>lesion</th>'
        "<th>layer</th><th>detail</th></tr></thead>"
        f"<tbody>{lines}</tbody></table></div>{rest}</details>"
    )


def _plots(page: Page, section: str, title: str) -> str:
    mine = [figure for figure in page.figures if figure.section == section]
    if not mine:
        return ""
    plots = "".join(_plot(figure, page.files) for figure in mine)
    heading = f'<section id="{section}"><h2>{escape(title)}</h2>'
    return f'{heading}<div class="figures">{plots}</div></section>'


def _plot(figure: Figure, files: str) -> str:
    images = "".join(
        f'<img class="{theme}" loading="lazy" alt="{escape(figure.title)}" '
        f'src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}">'
        for theme, svg in (("light", figure.drawing.svg), ("dark", figure.drawing.svg_dark))
    )
    links = ", ".join(
        f'<a href="{escape(files)}/plots/{figure.name}.{kind}">{kind.upper()}</a>'
        for kind in ("svg", "png", "csv")
    )
    return (
        f'<figure class="figure"><h3>{escape(figure.title)}</h3>{images}'
        f'<figcaption class="soft">{escape(figure.caption)} '
        f'<span class="files">{links}</span></figcaption></figure>'
    )


def _outliers(page: Page) -> str:
    shown = [ranking for ranking in page.rankings if ranking.suspects]
    quiet = [ranking.title.rstrip("?").split(":")[0] for ranking in page.rankings]
    quiet = [name for name, r in zip(quiet, page.rankings, strict=True) if not r.suspects]
    blocks = "".join(_ranking(ranking, page) for ranking in shown)
    if not shown:
        blocks = "<p>No rule finds anything worth a look.</p>"
    if quiet:
        blocks += f'<p class="soft">Nothing stands out by: {escape("; ".join(quiet))}.</p>'
    return (
        '<section id="outliers"><h2>Outliers, worst first, by several rules</h2>'
        '<p class="soft">A high rank is a reason to look, not a fault. '
        f'<span class="files"><a href="{escape(page.files)}/outliers.csv">CSV</a></span></p>'
        f"{blocks}</section>"
    )


def _ranking(ranking: Ranking, page: Page) -> str:
    cards = "".join(
        f'<button class="card" type="button" data-open="{suspect.row}">'
        f'<span class="picture" data-row="{suspect.row}"></span><span class="words">'
        f'<span class="rank">{number}</span>'
        f"<b>{escape(_text(page.columns['voi_id'][suspect.row]))}</b>"
        f"<span>{escape(suspect.words)}</span></span></button>"
        for number, suspect in enumerate(ranking.suspects, 1)
    )
    return (
        f'<h3 id="rule-{ranking.name}">{escape(ranking.title)}</h3>'
        f'<p class="soft">{escape(ranking.meaning)}</p><div class="strip">{cards}</div>'
    )


def _lesions() -> str:
    pager = (
        '<span class="pager"><button class="back" type="button">‹</button> <span></span> '
        '<button class="next" type="button">›</button></span>'
    )
    return (
        '<section id="lesions"><h2>All lesions</h2>'
        '<p class="soft">Three planes through the click (red cross): axial, coronal, sagittal, '
        "patient's right and front on the left. Blue: outline; yellow: the reader's lines; "
        "hatched violet: padding beyond the scan. Windows: lung level -500 width 1400, else level "
        "40 width 350. A picture opens with all its columns.</p>"
        '<div class="tools">'
        '<label>sort <select id="sort"><option value="">as listed</option></select></label>'
        '<label><input type="checkbox" id="descending"> largest first</label>'
        '<label>as <select id="view"><option value="pictures">pictures</option>'
        '<option value="table">table</option></select></label>'
        '<form id="condition"><fieldset><label>only <select id="column"></select></label>'
        '<select id="operator" aria-label="operator"></select>'
        '<input id="operand" list="known" aria-label="value"><datalist id="known"></datalist>'
        '<button type="submit">add</button></fieldset></form>'
        '<span class="chips" id="conditions"></span>'
        f'{pager}<span class="count" id="count"></span></div>'
        f'<noscript><p>The pictures need JavaScript.</p></noscript><div id="rows"></div>{pager}'
        "</section>"
    )


_DETAILS = (
    '<dialog id="details"><div class="bar"><b></b>'
    '<button class="back" type="button" title="arrow left">‹ previous</button>'
    '<button class="next" type="button" title="arrow right">next ›</button>'
    '<button class="close" type="button" title="Escape">close</button></div>'
    '<div class="image"></div><dl></dl></dialog>'
)


def outlier_table(rankings: Iterable[Ranking], rows: Sequence[Row]) -> list[Record]:
    """Rankings as rows of a table: rule, rank, score, words, and which lesion."""
    return [
        {
            "rule": ranking.name,
            "rank": number,
            **{
                name: rows[suspect.row][name]
                for name in ("source", "case_id", "lesion_index", "voi_id", "layer")
            },
            "score": round(suspect.score, 4),
            "words": suspect.words,
        }
        for ranking in rankings
        for number, suspect in enumerate(ranking.suspects, 1)
    ]
