"""`energy keys`: what it says."""

from typer.testing import CliRunner

from cli.main import app
from storage.settings import Settings


def test_a_key_that_is_revoked_twice(settings: Settings) -> None:
    assert CliRunner().invoke(app, ["keys", "create", "gateway"]).exit_code == 0
    first = CliRunner().invoke(app, ["keys", "revoke", "gateway"])
    second = CliRunner().invoke(app, ["keys", "revoke", "gateway"])
    assert (first.output, second.exit_code) == ("gateway is revoked\n", 0)
    assert second.output.startswith("gateway was already revoked on 20")
