"""Dagster's definitions: when and how datasets, analyses and reports are made. The work itself is in `assets`."""

import warnings

from dagster import BetaWarning, PreviewWarning

# Dagster's version is pinned, so its beta features do not change; the warnings would only clutter each start.
warnings.filterwarnings("ignore", category=BetaWarning)
warnings.filterwarnings("ignore", category=PreviewWarning)
