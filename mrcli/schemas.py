"""What the JSON documents hold, command by command: public API, extended but never broken.

A shape is a type, a tuple of shapes of which one must fit, a list with the shape of its items, or
a dictionary of the keys that must be there; a document may hold more.
"""

from collections.abc import Mapping

Number = (int, float)
_OPTIONAL_TEXT = (str, None)
_OPTIONAL_NUMBER = (int, float, None)

ERROR = {"code": str, "message": str, "file": _OPTIONAL_TEXT, "hint": _OPTIONAL_TEXT}
DOCUMENT = {"schema_version": int, "command": str, "ok": bool, "exit_code": int}
FINDING = {"code": str, "severity": str, "message": str, "remedy": str}
SITE = {
    "center": _OPTIONAL_TEXT,
    "scanner": _OPTIONAL_TEXT,
    "vendor": _OPTIONAL_TEXT,
    "field_strength_t": _OPTIONAL_NUMBER,
}
SAMPLING = {
    "pattern": str,
    "nominal_acceleration": _OPTIONAL_NUMBER,
    "true_acceleration": _OPTIONAL_NUMBER,
    "is_inferred": bool,
}
INSPECTED_SCAN = {
    "path": str,
    "format": _OPTIONAL_TEXT,
    "status": str,
    "n_frames": (int, None),
    "n_slices": (int, None),
    "n_coils": (int, None),
    "matrix": ([int], None),
    "dtype": _OPTIONAL_TEXT,
    "sampling": (SAMPLING, None),
    "site": (SITE, None),
    "protocol": _OPTIONAL_TEXT,
    "voxel_size_mm": ([Number], None),
    "noise_sigma": _OPTIONAL_NUMBER,
    "peak": _OPTIONAL_NUMBER,
    "sha256": _OPTIONAL_TEXT,
    "findings": [FINDING],
}
RECONSTRUCTED_SCAN = {
    "path": str,
    "output": [str],
    "status": str,
    "method": _OPTIONAL_TEXT,
    "model": (str, dict, None),
    "adapter": (str, dict, None),
    "reason": _OPTIONAL_TEXT,
    "consistency_residual": _OPTIONAL_NUMBER,
    "seconds": _OPTIONAL_NUMBER,
    "findings": [FINDING],
}
QUALITY = {"psnr_db": _OPTIONAL_NUMBER, "ssim": _OPTIONAL_NUMBER, "nmse": _OPTIONAL_NUMBER}
CONDITIONS = {
    "method": _OPTIONAL_TEXT,
    "site": SITE,
    "protocol": _OPTIONAL_TEXT,
    "pattern": _OPTIONAL_TEXT,
    "nominal_acceleration": _OPTIONAL_NUMBER,
}
SCORED_SCAN = {
    "path": str,
    "metric_set": str,
    **QUALITY,
    "worst_frame": {"frame": int, "slice": int, **QUALITY},
    "n_frames": int,
    **CONDITIONS,
    "true_acceleration": _OPTIONAL_NUMBER,
    "reference": str,
    "findings": [FINDING],
}
STATISTIC = {
    "n": int,
    "mean": _OPTIONAL_NUMBER,
    "sd": _OPTIONAL_NUMBER,
    "ci95": ([Number], None),
    "worst": _OPTIONAL_NUMBER,
    "worst_path": str,
}
GROUP = {"metric_set": str, **CONDITIONS, "n": int, **dict.fromkeys(QUALITY, STATISTIC)}
UNSCORED_SCAN = {
    "path": str,
    "metric_set": _OPTIONAL_TEXT,
    "error": {"code": str, "message": str, "hint": _OPTIONAL_TEXT},
}
OFFENDER = {
    "path": str,
    "metric_set": str,
    "metric": str,
    "value": _OPTIONAL_NUMBER,
    "limit": Number,
}
SIMULATED_SCAN = {
    "path": str,
    "status": str,
    "site": str,
    "protocol": str,
    "shape": [int],
    "true_accelerations": dict,
    "output": [str],
    "n_bytes": int,
    "seconds": _OPTIONAL_NUMBER,
    "findings": [FINDING],
}
FIELD_CASE = {
    **dict.fromkeys(("case", "group", "site", "modality", "protocol", "patient"), str),
    "cohort": str,
    "pattern": str,
    "acceleration": int,
}
FIELD_STATISTIC = {
    "n": int,
    "mean": _OPTIONAL_NUMBER,
    "sd": _OPTIONAL_NUMBER,
    "ci95": ([Number], None),
}
FIELD_SCORES = {
    name: dict.fromkeys(QUALITY, FIELD_STATISTIC) for name in ("clean", "cmrxrecon2025")
}
# and the facts of its level: group, site, modality, pattern, acceleration
FIELD_MEANS = {"level": str, "method": str, "n_cases": int, "seconds": Number, **FIELD_SCORES}
FIELD_ROW = {
    **FIELD_CASE,
    "true_acceleration": Number,
    "shape": [int],
    "method": str,
    "weight": _OPTIONAL_NUMBER,
    "seconds": Number,
    "clean": QUALITY,
    "cmrxrecon2025": QUALITY,
}
TUNING = {
    "method": str,
    "pattern": str,
    "scores": [{"weight": Number, "n": int, "psnr_db": _OPTIONAL_NUMBER}],
    "chosen": _OPTIONAL_NUMBER,
}
CHECK = {"name": str, "status": str, "message": str, "fix": _OPTIONAL_TEXT}
MODEL_OR_ADAPTER = {
    "model": str,
    "name": str,
    "kind": str,
    "form": _OPTIONAL_TEXT,
    "merges": (bool, None),
    "n_parameters": int,
    "share": Number,
    "backbone_sha256": str,
    "sha256": str,
    "activated": _OPTIONAL_TEXT,
}
ACTIVATION = {"sha256": str, "time": str}
CHANGE = {
    "adapter": str,
    "before": (ACTIVATION, None),
    "after": (ACTIVATION, None),
    "findings": [FINDING],
}
MOVED = {
    **dict.fromkeys(("adapter", "kind", "sha256", "output"), str),
    "files": [str],
    "findings": [FINDING],
}
AUDIT_ENTRY = {
    "sequence": int,
    **dict.fromkeys(("time", "action", "adapter", "bundle_sha256", "backbone_sha256"), str),
    "previous": str,
    "version": str,
}
COMPARED = {
    **dict.fromkeys(("name", "kind", "form", "sha256", "backbone_sha256"), str),
    "rank": int,
    "n_cascades": (int, None),
    "n_parameters": int,
}
VERIFIED = {"name": str, "status": str, "n_adapters": int, "error": (ERROR, None)}

SCHEMAS: Mapping[str, Mapping[str, object]] = {
    "inspect": {"scans": [INSPECTED_SCAN]},
    "recon": {"scans": [RECONSTRUCTED_SCAN]},
    "adapt": {
        "accepted": bool,
        "reason": str,
        "baseline": dict,
        "candidate": dict,
        "gain_db": {"mean": _OPTIONAL_NUMBER, "worst": _OPTIONAL_NUMBER},
        "n_scans": {"train": int, "holdout": int},
        "trained_parameters": int,
        "parameter_fraction": float,
        "backbone_sha256": str,
        "bundle": _OPTIONAL_TEXT,
        "seconds": Number,
    },
    "report": {
        "rows": [SCORED_SCAN],
        "summary": [GROUP],
        "unscored": [UNSCORED_SCAN],
        "unscored_others": [UNSCORED_SCAN],
        "unpaired": [str],
        "offenders": [OFFENDER],
    },
    "simulate": {"is_simulated": bool, "scans": [SIMULATED_SCAN]},
    "train": {
        "stage": str,
        "step": int,
        "n_steps": int,
        "n_taken": int,
        "is_done": bool,
        "seconds": _OPTIONAL_NUMBER,
        "gain_db": _OPTIONAL_NUMBER,
        "model": _OPTIONAL_TEXT,
        "adapters": [str],
    },
    "bench": {
        "what": str,
        "is_simulated": bool,
        "settings": dict,
        "metric_sets": dict,
        "methods": [{"name": str, "program": str, "settings": str, "weights": [Number]}],
        "left_out": [{"name": str, "reason": str}],
        "n_tuning_cases": int,
        "n_cases": int,
        "tuning": [TUNING],
        "summary": [FIELD_MEANS],
        "paired": [{**FIELD_MEANS, "against": str}],
        "rows": [FIELD_ROW],
        "failures": [{**FIELD_CASE, "method": str, "error": ERROR}],
        "seconds": Number,
    },
    "demo": {},
    "doctor": {"checks": [CHECK]},
    "adapters list": {"models": [MODEL_OR_ADAPTER]},
    "adapters show": {"shown": MODEL_OR_ADAPTER, "card": dict},
    "adapters verify": {"verified": [VERIFIED]},
    "adapters activate": CHANGE,
    "adapters rollback": CHANGE,
    "adapters export": MOVED,
    "adapters import": MOVED,
    "adapters diff": {
        "adapters": [COMPARED],
        "difference": _OPTIONAL_NUMBER,
        "slots": [{"slot": str, "difference": Number}],
        "findings": [FINDING],
    },
    "adapters average": {
        **dict.fromkeys(("adapter", "kind", "sha256", "weights", "output"), str),
        "averaged": [{"name": str, "sha256": str, "weight": Number}],
        "share_lost": Number,
        "findings": [FINDING],
    },
    "adapters log": {
        "entries": [AUDIT_ENTRY],
        "is_verified": bool,
        "broken_line": (int, None),
        "reasons": [ERROR],
    },
}


def violations(document: Mapping[str, object]) -> tuple[str, ...]:
    """Return what a document lacks or has of the wrong type, none if it is as promised."""
    is_failure = document.get("ok") is False
    head = DOCUMENT | ({"error": ERROR} if is_failure else {})
    # a command that failed as a whole has no results to list
    own = SCHEMAS.get(str(document.get("command")), {})
    body = {key: shape for key, shape in own.items() if key in document or not is_failure}
    return tuple(_misfits(document, head | body, "document"))


def _misfits(value: object, shape: object, where: str) -> list[str]:
    if isinstance(shape, tuple):
        tried = [_misfits(value, option, where) for option in shape]
        return [] if [] in tried else max(tried, key=len)
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            return [f"{where}: not an object"]
        missing = [f"{where}.{key}: missing" for key in shape if key not in value]
        present = (key for key in shape if key in value)
        return missing + [m for k in present for m in _misfits(value[k], shape[k], f"{where}.{k}")]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where}: not a list"]
        items = enumerate(value)
        return [m for n, item in items for m in _misfits(item, shape[0], f"{where}[{n}]")]
    return [] if _is_a(value, shape) else [f"{where}: {type(value).__name__}, needed {shape}"]


def _is_a(value: object, kind: object) -> bool:
    if kind is None or not isinstance(kind, type):
        return value is None
    is_flag = isinstance(value, bool)  # to Python it is an int, to JSON it is not
    return isinstance(value, kind) and is_flag == (kind is bool)
