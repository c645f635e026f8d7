"""nnInteractive as a member: a server of it is asked with the box about a reader's lines.

Start its `nninteractive-server` where the weights are; here only its client is needed
(https://github.com/MIC-DKFZ/nnInteractive, SERVER_CLIENT.md). The weights are not for commercial
use; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.ensemble.subject import Subject
from uls_data.errors import CaseError, UlsDataError
from uls_data.measure.ellipsoid import ellipse_centre
from uls_data.outcome import Reason
from uls_data.pseudomask.methods import pseudo_mask
from uls_data.voi import VOI_SHAPE

_CLIENT = "pip install nninteractive-client"


@dataclass(frozen=True)
class NnInteractiveMember:
    """A server of nnInteractive.

    Attributes
    ----------
    url : str
        Such as `http://gpu-box:1527`. A key of the server is taken from the environment's
        `NN_INTERACTIVE_API_KEY`, by the client itself.
    name : str
        Of the layer that it makes.
    connect : callable, optional
        From a URL to a session with nnInteractive's interface; default: its own client's, or pass
        a local session.
    """

    url: str
    name: str = "nninteractive"
    connect: Callable[[str], Any] | None = field(default=None, compare=False)
    needs: frozenset[str] = frozenset({"lines", "image", "nnInteractive"})

    @cached_property
    def session(self) -> Any:
        """A session of the server.

        Raises
        ------
        UlsDataError
            The client is not installed, or the server does not answer or has no place left.
        """
        connect = self.connect or _remote(self.url)
        try:
            return connect(self.url)
        except Exception as error:  # of the client's HTTP library, which is not ours
            raise UlsDataError(f"{self.url}: no session: {error}") from error

    def mask(self, subject: Subject) -> NDArray[np.bool_] | None:
        """Mask in 3D, shape (256, 256, 128); None without lines.

        The server sees the scan within the VOI in HU, no padding, and two prompts: the box about
        the lines' quarter-ellipses on the key slice, and the middle of their ellipse.

        Raises
        ------
        CaseError
            The image cannot be read, or the server ended the session.
        UlsDataError
            See `session`.
        """
        measured = subject.measured(image=False)
        at = subject.key_slice
        if measured is None or at is None or subject.lines is None:
            return None
        x, y = np.nonzero(pseudo_mask("quarter_ellipses", measured).mask)
        if x.size == 0:
            return None
        corner = [part.start for part in subject.scan]
        shown = subject.hu[subject.scan].astype(np.float32)
        box = [
            [int(axis.min()) - low, int(axis.max()) + 1 - low]
            for axis, low in zip((x, y, np.array([at])), corner, strict=True)
        ]
        middle = [*np.rint(ellipse_centre(subject.lines)).astype(int), at]
        point = [
            int(np.clip(value - low, 0, n - 1))
            for value, low, n in zip(middle, corner, shown.shape, strict=True)
        ]
        found = np.zeros(shown.shape, np.uint8)
        session = self.session
        try:
            session.set_image(shown[None])
            session.set_target_buffer(found)
            session.add_bbox_interaction(box, include_interaction=True, run_prediction=False)
            session.add_point_interaction(point, include_interaction=True)
        except Exception as error:  # as above
            self.__dict__.pop("session", None)  # the next lesion asks for another
            detail = f"{self.url}: {subject.row['voi_id']}: {error}"
            raise CaseError(Reason.IO_ERROR, detail) from error
        mask = np.zeros(VOI_SHAPE, bool, order="F")
        mask[subject.scan] = found > 0
        return mask


def _remote(url: str) -> Callable[[str], Any]:
    """Return the client's own session."""
    try:
        from nnInteractive.inference import remote  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        raise UlsDataError(f"{url}: nnInteractive needs its client: {_CLIENT}") from error
    session: Callable[[str], Any] = remote.nnInteractiveRemoteInferenceSession
    return session
