"""Every variable that the platform reads, found in the rooms' own settings."""

from importlib import import_module

from storage.settings import CHECKOUT, SYNONYMS, EnvironmentSettings

# Fields whose variable has another name, or many.
NAMED_OTHERWISE = {
    "given_database_url": "DATABASE_URL",
    "given_postgres_port": "POSTGRES_PORT",
    "notify": "NOTIFY_<NAME>",
}


def settings_modules() -> set[str]:
    """The modules with settings: every file `settings.py`, wherever it is."""
    rooms = ("storage", "ingest", "assets", "orchestration", "serving", "cli")
    files = [file.relative_to(CHECKOUT) for room in rooms for file in (CHECKOUT / room).rglob("settings.py")]
    return {".".join(file.with_suffix("").parts) for file in files}


def settings_classes() -> list[type[EnvironmentSettings]]:
    """The settings of every room."""
    for module in settings_modules():
        import_module(module)
    return EnvironmentSettings.__subclasses__()


def variables() -> set[str]:
    """The names of all variables with their synonyms; `NOTIFY_<NAME>` stands for many."""
    fields = {field for kind in settings_classes() for field in kind.model_fields}
    return {NAMED_OTHERWISE.get(field, field.upper()) for field in fields}.union(*SYNONYMS)
