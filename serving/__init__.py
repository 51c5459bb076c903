"""What clients see: one REST API for clients of the six services that it replaces."""
