from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from storage import database
from storage.settings import Settings


def alembic(engine: Engine, what: str, *arguments: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        getattr(command, what)(config, *arguments)


def test_migrations_make_what_the_models_say(engine: Engine) -> None:
    alembic(engine, "check")


def test_down_and_up_again(settings: Settings, engine: Engine) -> None:
    alembic(engine, "downgrade", "base")
    database.migrate(settings)
    database.migrate(settings)  # a second start finds nothing to do
    with engine.connect() as connection:
        names = set(
            connection.scalars(text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"))
        )
    assert {"devices", "rules", "alerts", "analytics_jobs", "export_checkpoints", "analytics_results"} <= names
