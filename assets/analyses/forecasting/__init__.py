"""Forecasts: an hourly history on the site's clock, models of it, their test on the past, and bands."""
