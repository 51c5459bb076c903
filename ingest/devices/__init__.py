"""Devices as ingestion knows them: their profiles, a registry that follows changes, and when each was last seen."""

from ingest.devices.profile import DeviceProfile, Windows, profile_of

__all__ = ["DeviceProfile", "Windows", "profile_of"]
