"""`energy demo`: the whole flow on real data."""
