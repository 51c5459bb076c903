"""What ingestion knows of devices: their profiles, a registry that follows changes, when each was last seen."""
