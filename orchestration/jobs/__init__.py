"""Jobs asked for over REST: exports, reports, and the sensors that lose none."""
