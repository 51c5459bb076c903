"""Jobs that clients ask for over REST: exports, reports, and the sensors that launch jobs and end them.

The jobs of analyses stand with their assets, in `orchestration.analyses.results`.
"""
