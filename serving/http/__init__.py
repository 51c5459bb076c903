"""The parts of any HTTP API: errors, fields, pages, ETags, formats, limits, metrics, the description."""
