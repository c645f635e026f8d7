"""Members that each make a mask of a lesion, and how far they disagree."""

from uls_data.ensemble.disagreement import disagreement
from uls_data.ensemble.member import Ellipsoid, Flat, Jury3d, Layer, Likeness, Member, member_of
from uls_data.ensemble.nninteractive import NnInteractiveMember
from uls_data.ensemble.onnx import OnnxMember
from uls_data.ensemble.subject import Subject
from uls_data.ensemble.writing import write_layer

__all__ = [
    "Ellipsoid",
    "Flat",
    "Jury3d",
    "Layer",
    "Likeness",
    "Member",
    "NnInteractiveMember",
    "OnnxMember",
    "Subject",
    "disagreement",
    "member_of",
    "write_layer",
]
