import pytest
from typer.testing import CliRunner

from cli.main import app
from storage.settings import SettingsError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay"], "choose messages: give ids, --device"),
        (["list", "--since", "yesterday"], "'yesterday' is not a time; write it as 2026-02-12T10:00:00Z"),
        (["list", "--until", "2026-02-12T10:00:00"], "has no UTC offset"),
    ],
)
def test_wrong_options_are_explained(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["quarantine", *arguments])
    assert isinstance(result.exception, SettingsError)
    assert message in str(result.exception)
