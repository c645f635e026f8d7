"""A server of VOIs from the paths that a user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uls_data.errata import ErrataError
from uls_data.errata.edits import FILE as EDITS
from uls_data.triage.curators import Curators
from uls_data.triage.editing import Editor
from uls_data.triage.handler import Handler
from uls_data.triage.listing import read_list
from uls_data.triage.server import TriageServer
from uls_data.triage.shown import Lesions
from uls_data.triage.verdict_keys import load_keys
from uls_data.triage.verdicts import Verdicts


def triage_server(
    out: str | Path,
    where: str = "",
    *,
    sort: str | None = None,
    listed: str | Path | None = None,
    port: int = 0,
    overlay: str | Path | None = None,
    author: str = "curator",
    keys: str | Path | None = None,
    adjudicate: Sequence[str | Path] = (),
) -> TriageServer:
    """Make a server that shows VOIs, on a wall or one by one, and takes verdicts.

    It listens on 127.0.0.1 alone, and answers only those who know its token. Call `serve_forever`
    on it, and `server_close` in the end; it is a context manager.

    Parameters
    ----------
    out : path
        OUT folder of a build or archive, or one manifest of it.
    where : str
        As `query` takes it; of the layers that meet it the first one of a VOI is judged.
    sort : str, optional
        Manifest column; the smallest values come first.
    listed : path, optional
        CSV table: only its VOIs, in its order, see `read_list`.
    port : int
        0 takes a free one.
    overlay : path, optional
        Errata overlay for the verdicts; default: `errata/triage.yaml` below `out`. Edited masks go
        to `errata/edits.yaml`, or to `<overlay>-edits.yaml` beside an overlay that is named.
    author : str
        Name or handle that signs; no address.
    keys : path, optional
        YAML file of the verdicts with a reason, see `load_keys`.
    adjudicate : sequence of paths
        Overlays of two or more curators: the VOIs on which they differ are shown, unless `listed`
        names others, each with the masks that they edited. The overlay for the verdicts is then
        `errata/decisions.yaml` unless another one is named.

    Raises
    ------
    ManifestError
        Not a manifest or a list, or no mask meets the expression and the list.
    ErrataError
        The overlay is none, or the author cannot sign; or the curators differ on no VOI.
    KeysError
        The file of keys is none.
    SourceError
        The port is taken.
    """
    offered = load_keys() if keys is None else load_keys(keys)
    curators = Curators(adjudicate)
    if overlay is not None and Path(overlay).resolve() in curators.files():
        raise ErrataError(f"{overlay}: is one of the overlays to adjudicate; name another one")
    entries = curators.differing() if curators and listed is None else None
    lesions = Lesions(Path(out), where, sort, read_list(Path(listed)) if listed else entries)
    name = "decisions.yaml" if curators else "triage.yaml"
    path = Path(overlay) if overlay is not None else lesions.root / "errata" / name
    verdicts = Verdicts(path, author)
    edits = path.with_name(f"{path.stem}-edits.yaml")
    if overlay is None and not curators:
        edits = lesions.root / EDITS
    editor = Editor(Path(out), lesions, edits, author)
    return TriageServer(lesions, verdicts, offered, editor, curators, Handler, port)
