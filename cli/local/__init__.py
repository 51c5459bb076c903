"""The platform on this machine: its services, started, watched and ended."""
