"""What clients see: the REST API of all six services of the handover, in one app."""
