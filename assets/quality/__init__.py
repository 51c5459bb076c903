"""Whether a device's day can be trusted."""
