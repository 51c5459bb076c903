"""The registry of devices."""
