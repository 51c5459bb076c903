"""How much history a forecast and its test on the past need."""

MIN_HOURS = 72  # before the first origin: the models need a few days to learn a daily pattern
MIN_ORIGINS = 10  # of the test


def hours_needed(tested: int) -> int:
    """Hours of history, if the test goes so many hours ahead."""
    return MIN_HOURS + tested + MIN_ORIGINS
