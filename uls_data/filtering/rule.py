"""Rules of the filter: clauses that a mask has to meet, all of them.

The paper's rule (section 4.1 and Figure 3): long and short axis of the mask, each within 5
pixels of the measurement. The paper does not say on which slice; here it is the key slice.

The combined rule asks more of a mask, as far as its columns say: a clause over a column that
is null is met, save those of the axes. Its bounds beyond the paper's 5 pixels are choices: a
quarter of the axis is twice the spread of two readers (12 %, Yoon 2016), and a lesion's extent
along z is compared with its axes in the slice through its volume. On the demo's hard lesions the
Dice with the 2D mask on the key slice told most (correlation with the true 3D Dice about 0.8);
ends of axes turn with round lesions, and entropy falls with the length of training, so their
bounds catch only what is hopeless.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from uls_data.errors import ManifestError

PAPER = "paper"
COMBINED = "combined"
MAXIMUM_AXIS_ERROR_VOX = 5.0
_BORDER = ("touches_x_low", "touches_x_high", "touches_y_low", "touches_y_high")
_ENDS = ("touches_z_low", "touches_z_high")
# Extent along z of the ellipsoid that has the mask's volume and its two axes in the slice.
_Z_EXTENT_MM = "volume_mm3 * 6 / 3.141592653589793 / (long_axis_mm * short_axis_mm)"


@dataclass(frozen=True)
class Clause:
    """One condition of a rule.

    Attributes
    ----------
    name : str
    expression : str
        As `uls_data.manifest.query` understands it.
    """

    name: str
    expression: str

    @property
    def columns(self) -> list[str]:
        """Columns that the expression names, in their order."""
        nodes = list(ast.walk(ast.parse(self.expression, mode="eval")))
        called = {node.func.id for node in nodes if _is_call(node)}  # type: ignore[attr-defined]
        names = [node.id for node in nodes if isinstance(node, ast.Name)]
        return [name for name in dict.fromkeys(names) if name not in called]


def _is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def paper_rule(maximum_axis_error_vox: float = MAXIMUM_AXIS_ERROR_VOX) -> list[Clause]:
    """Both axes on the key slice within so many pixels of the measurement."""
    return [
        Clause(
            f"{axis}_axis",
            f"key_slice_{axis}_error_vox.abs() <= {float(maximum_axis_error_vox)}",
        )
        for axis in ("long", "short")
    ]


def combined_rule(maximum_axis_error_vox: float = MAXIMUM_AXIS_ERROR_VOX) -> list[Clause]:
    """Return the paper's rule and what other columns can say."""
    relative = " and ".join(
        f"(key_slice_{axis}_error_vox.abs() <= 2"
        f" or key_slice_{axis}_error_vox.abs() <= 0.25 * recist_{axis}_vox)"
        for axis in ("long", "short")
    )
    border = " or ".join(f'flagged("{flag}")' for flag in (*_BORDER, *_ENDS))
    return [
        *paper_rule(maximum_axis_error_vox),
        Clause("relative_error", relative),
        Clause("predicted_dice", "predicted_dice.isna() or predicted_dice >= 0.7"),
        Clause(
            "endpoint_distance",
            "endpoint_distance_vox.isna() or endpoint_distance_vox <= 0.75 * recist_long_vox",
        ),
        Clause("key_slice_dice", "key_slice_dice.isna() or key_slice_dice >= 0.8"),
        Clause("uncertainty", "uncertainty.isna() or uncertainty <= 0.7"),
        Clause("one_component", 'not flagged("several_components_26")'),
        Clause("centre_in_mask", 'not flagged("centre_outside_mask")'),
        Clause("inside_voi", f"not ({border})"),
        Clause(
            "z_extent",
            'supervision != "pseudo_3d" or volume_mm3.isna() or short_axis_mm == 0 or'
            f" ({_Z_EXTENT_MM} >= 0.33 * short_axis_mm and {_Z_EXTENT_MM} <= 2.5 * long_axis_mm)",
        ),
    ]


def clauses_of(expression: str) -> list[Clause]:
    """Clauses of an expression of the user's: the parts that a top-level `and` joins.

    Raises
    ------
    ManifestError
        Not an expression.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ManifestError(f"--rule {expression!r}: not an expression ({error})") from error
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    return [Clause(text, text) for text in dict.fromkeys(map(ast.unparse, parts))]
