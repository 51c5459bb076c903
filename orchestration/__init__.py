"""When and how things are made: Dagster's definitions, thin over `assets`."""

import warnings

from dagster import BetaWarning, PreviewWarning

# Dagster's version is pinned: what it calls beta does not change under us, and need not be said at every start.
warnings.filterwarnings("ignore", category=BetaWarning)
warnings.filterwarnings("ignore", category=PreviewWarning)
