"""Look at VOIs one by one in a browser, and judge them with the keyboard.

The server is for this machine only. It shows three planes of every VOI; each verdict goes at once
into an errata overlay. Nothing that was built is changed.
"""

from uls_data.triage.drawing import DrawingServer, drawing_server
from uls_data.triage.server import TriageServer, triage_server
from uls_data.triage.verdicts import Verdict, Verdicts

__all__ = [
    "DrawingServer",
    "TriageServer",
    "Verdict",
    "Verdicts",
    "drawing_server",
    "triage_server",
]
