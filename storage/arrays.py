"""Names for the numpy arrays that the platform computes with."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]  # microseconds since 1970 UTC
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]
