"""What the compiled part was built from and what it finds on this machine."""

from __future__ import annotations

from typing import Any

from insight_ext import _C
from insight_ext.errors import DeviceError


def build_info() -> dict[str, Any]:
    """Tells how the extension was built and what it will use here.

    Returns:
        version: of the package the extension was built from.
        compiler: that compiled it.
        instruction_sets: those of the CPU back end that this processor can run, best last.
        cuda: whether the CUDA back end was built.
        cuda_architectures: it was built for.
        device: name of the CUDA device found, or None.

    Examples:
        >>> build_info()["instruction_sets"][0]
        'portable'
    """
    architectures = _C.cuda_architectures
    try:
        device = _C.device_name(_C.Place("cuda"))
    except DeviceError:
        device = None
    return {
        "version": _C.version,
        "compiler": _C.compiler,
        "instruction_sets": _C.instruction_sets,
        "cuda": "cuda" in _C.back_ends,
        "cuda_architectures": architectures.split(",") if architectures else [],
        "device": device,
    }
