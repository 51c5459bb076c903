"""The variables of all rooms, checked before the platform starts."""

from importlib import import_module

from storage.settings import Settings, check_settings

# The modules with variables that one room alone reads.
ROOM_SETTINGS = (
    "assets.energy.settings",
    "assets.quality.settings",
    "assets.reports.settings",
    "cli.local.settings",
    "ingest.notify.settings",
    "orchestration.settings",
    "serving.settings",
)


def load_settings() -> Settings:
    """The settings, once the variables of every process of the platform are known to be right.

    Raises:
        SettingsError: variables have wrong values; each is named.

    """
    for module in ROOM_SETTINGS:
        import_module(module)
    check_settings()
    return Settings.load()
