"""Closed lists of the manifest: status, reason, quality flags, lesion types.

Their meanings are written once, in `manifests/schema/lesion.json`; a test holds
the two together.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What became of a lesion candidate or a case."""

    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a row is not `ok`."""

    # skipped: a decision
    NO_LESION = "no_lesion"
    BELOW_MINIMUM_SIZE = "below_minimum_size"
    NOT_LARGEST_COMPONENT = "not_largest_component"
    NOT_IN_REPLAY_MANIFEST = "not_in_replay_manifest"
    DUPLICATE = "duplicate"
    POINT_MARK = "point_mark"
    BELOW_AGREEMENT = "below_agreement"
    NOT_A_NODULE = "not_a_nodule"
    POSSIBLY_NOISY = "possibly_noisy"
    NOT_FIRST_ON_SLICE = "not_first_on_slice"
    FEW_SLICES_ABOVE = "few_slices_above"
    NOT_A_RADIOLOGIST = "not_a_radiologist"
    NOT_MEASURED = "not_measured"
    SINGLE_LINE = "single_line"
    AWAITING_LINES = "awaiting_lines"
    NOT_ANNOTATED = "not_annotated"
    FILTERED = "filtered"
    ERRATUM_DROP = "erratum_drop"
    ERRATUM_RECLICK = "erratum_reclick"
    EMPTY_PREDICTION = "empty_prediction"
    SPACING_UNKNOWN = "spacing_unknown"
    # failed: something is wrong with the input
    IMAGE_MISSING = "image_missing"
    MASK_MISSING = "mask_missing"
    AMBIGUOUS_FILES = "ambiguous_files"
    PATH_LEAVES_ROOT = "path_leaves_root"
    UNREADABLE = "unreadable"
    IO_ERROR = "io_error"
    FOLDER_UNREADABLE = "folder_unreadable"
    TRUNCATED_FILE = "truncated_file"
    UNSUPPORTED_FORMAT = "unsupported_format"
    NOT_3D = "not_3d"
    TOO_LARGE = "too_large"
    BAD_AFFINE = "bad_affine"
    UNEXPECTED_AXIS_ORDER = "unexpected_axis_order"
    GRID_MISMATCH = "grid_mismatch"
    AFFINE_MISMATCH = "affine_mismatch"
    NOT_FINITE = "not_finite"
    HU_OUT_OF_RANGE = "hu_out_of_range"
    MASK_NOT_INTEGER = "mask_not_integer"
    UNEXPECTED_MASK_VALUE = "unexpected_mask_value"
    TOO_MANY_INSTANCES = "too_many_instances"
    NAME_NOT_RECOGNISED = "name_not_recognised"
    VOI_SHAPE = "voi_shape"
    EMPTY_MASK = "empty_mask"
    DUPLICATE_UIDS = "duplicate_uids"
    DUPLICATE_POSITIONS = "duplicate_positions"
    MISSING_SLICES = "missing_slices"
    TOO_FEW_SLICES = "too_few_slices"
    GANTRY_TILT = "gantry_tilt"
    MIXED_GEOMETRY = "mixed_geometry"
    NOT_CT = "not_ct"
    MULTI_FRAME = "multi_frame"
    LOCALIZER = "localizer"
    ANNOTATION_MISMATCH = "annotation_mismatch"
    ANNOTATION_UNREADABLE = "annotation_unreadable"
    DEGENERATE_LINES = "degenerate_lines"
    KEY_SLICE_MISSING = "key_slice_missing"
    NOT_TRAINING_TRUTH = "not_training_truth"
    REPLAY_CASE_MISSING = "replay_case_missing"
    REPLAY_LESION_MISSING = "replay_lesion_missing"
    REPLAY_POSITION = "replay_position"
    CHANGED_WHILE_READ = "changed_while_read"
    UNACCOUNTED = "unaccounted"
    NAME_TOO_LONG = "name_too_long"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_LOST = "worker_lost"
    TIMED_OUT = "timed_out"
    INTERNAL_ERROR = "internal_error"

    @property
    def status(self) -> Status:
        """`skipped` for a decision, `failed` for what is wrong with the input."""
        return Status.SKIPPED if self in _DECISIONS else Status.FAILED


_DECISIONS = frozenset(
    {
        Reason.NO_LESION,
        Reason.BELOW_MINIMUM_SIZE,
        Reason.NOT_LARGEST_COMPONENT,
        Reason.NOT_IN_REPLAY_MANIFEST,
        Reason.DUPLICATE,
        Reason.POINT_MARK,
        Reason.BELOW_AGREEMENT,
        Reason.NOT_A_NODULE,
        Reason.POSSIBLY_NOISY,
        Reason.NOT_FIRST_ON_SLICE,
        Reason.FEW_SLICES_ABOVE,
        Reason.NOT_A_RADIOLOGIST,
        Reason.NOT_MEASURED,
        Reason.SINGLE_LINE,
        Reason.AWAITING_LINES,
        Reason.NOT_ANNOTATED,
        Reason.FILTERED,
        Reason.ERRATUM_DROP,
        Reason.ERRATUM_RECLICK,
        Reason.EMPTY_PREDICTION,
        Reason.SPACING_UNKNOWN,
    }
)


class Flag(StrEnum):
    """Something to know about a row that does not stop it."""

    SPACING_UNKNOWN = "spacing_unknown"
    ORIENTATION_ASSUMED = "orientation_assumed"
    OBLIQUE = "oblique"
    SHEARED = "sheared"
    UNITS_CONVERTED = "units_converted"
    MASK_AFFINE_IGNORED = "mask_affine_ignored"
    TRAILING_AXIS_DROPPED = "trailing_axis_dropped"
    HU_ROUNDED = "hu_rounded"
    HU_INT32 = "hu_int32"
    NO_AIR = "no_air"
    HU_OFFSET_SUSPECTED = "hu_offset_suspected"
    CUT_BY_VOI = "cut_by_voi"
    CUT_BY_VIEW = "cut_by_view"
    TOUCHES_X_LOW = "touches_x_low"
    TOUCHES_X_HIGH = "touches_x_high"
    TOUCHES_Y_LOW = "touches_y_low"
    TOUCHES_Y_HIGH = "touches_y_high"
    TOUCHES_Z_LOW = "touches_z_low"
    TOUCHES_Z_HIGH = "touches_z_high"
    AT_SCAN_EDGE = "at_scan_edge"
    SINGLE_SLICE = "single_slice"
    SINGLE_VOXEL = "single_voxel"
    SEVERAL_COMPONENTS_6 = "several_components_6"
    SEVERAL_COMPONENTS_26 = "several_components_26"
    CENTRE_OUTSIDE_MASK = "centre_outside_mask"
    ANISOTROPIC_IN_PLANE = "anisotropic_in_plane"
    ARRAY_ORIGIN = "array_origin"
    REPLAY_LABEL_DIFFERS = "replay_label_differs"
    REDISTRIBUTION_UNKNOWN = "redistribution_unknown"
    PER_SLICE_RESCALE = "per_slice_rescale"
    SLICES_REPAIRED = "slices_repaired"
    PHASE_CHOSEN = "phase_chosen"
    OUT_OF_FIELD = "out_of_field"
    CONTOUR_OFF_SLICE = "contour_off_slice"
    CONTOURS_OVERLAP = "contours_overlap"
    UID_CONTRADICTS_POSITION = "uid_contradicts_position"
    BURNED_IN_ANNOTATION = "burned_in_annotation"
    DUPLICATE_MASK = "duplicate_mask"
    OVERLAPS_LESION = "overlaps_lesion"
    LARGEST_COMPONENT_UNCLEAR = "largest_component_unclear"
    KEY_SLICE_NEAR_EDGE = "key_slice_near_edge"
    AXES_DO_NOT_CROSS = "axes_do_not_cross"
    SLICE_GROUP_HAS_NEIGHBOURS = "slice_group_has_neighbours"
    HAND_CORRECTED = "hand_corrected"
    TRAILING_BYTES = "trailing_bytes"
    QFAC_INVALID = "qfac_invalid"
    NO_PREAMBLE = "no_preamble"
    REFERENCE_INFERRED = "reference_inferred"
    MASK_ON_SUBGRID = "mask_on_subgrid"
    OTHER_VOLUME_FORMAT = "other_volume_format"
    SCOUT_LEFT_OUT = "scout_left_out"
    LONE_SLICE = "lone_slice"
    STATED_LENGTH_DIFFERS = "stated_length_differs"
    SHARED_UIDS = "shared_uids"
    AXIS_ASSUMED = "axis_assumed"
    CONTOUR_MOVED_TO_SLICE = "contour_moved_to_slice"
    CONTOUR_ON_OTHER_SLICE = "contour_on_other_slice"
    CONTOUR_CUT = "contour_cut"
    STRUCTURE_EMPTY = "structure_empty"
    LEAK_HELDOUT_PATIENT = "leak_heldout_patient"
    LEAK_SAME_SCAN = "leak_same_scan"


# Rows with one of them must not train; `audit` sets them.
LEAKS = frozenset({Flag.LEAK_HELDOUT_PATIENT, Flag.LEAK_SAME_SCAN})


class Supervision(StrEnum):
    """How much of the lesion the mask of a row covers, and by whom."""

    FULL = "full"
    WEAK_2D = "weak_2d"
    PSEUDO_3D = "pseudo_3d"


class AnnotationScope(StrEnum):
    """Which lesions of a scan its source annotates."""

    ALL = "all"
    TARGET = "target"
    SOME = "some"
    UNKNOWN = "unknown"


class LesionType(StrEnum):
    """Lesion types of the paper's Table 1; DeepLesion's coarse types beyond those."""

    BONE = "bone"
    COLON = "colon"
    KIDNEY = "kidney"
    LIVER = "liver"
    LUNG = "lung"
    LYMPH_NODE = "lymph_node"
    PANCREAS = "pancreas"
    ABDOMEN = "abdomen"
    MEDIASTINUM = "mediastinum"
    SOFT_TISSUE = "soft_tissue"
    PELVIS = "pelvis"
    VARIOUS = "various"
    UNKNOWN = "unknown"
