"""Look at VOIs in a browser, on a wall or one by one, and judge and edit their masks.

The server is for this machine only. It shows three planes of every VOI; each verdict goes at once
into an errata overlay. Nothing that was built is changed.
"""

from uls_data.triage.drawing import DrawingServer, drawing_server
from uls_data.triage.server import TriageServer
from uls_data.triage.serving import triage_server
from uls_data.triage.verdicts import Verdict, Verdicts

__all__ = [
    "DrawingServer",
    "TriageServer",
    "Verdict",
    "Verdicts",
    "drawing_server",
    "triage_server",
]
