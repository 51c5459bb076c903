"""The numpy arrays that the platform computes with."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]  # microseconds since 1970 UTC
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]


def runs(flags: Mask) -> list[slice]:
    """The runs of true values."""
    edges = np.flatnonzero(np.diff(np.r_[0, flags.astype(int), 0]))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
