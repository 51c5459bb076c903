from typer.testing import CliRunner

from cli.main import app
from storage.stores import Stores


def test_a_list_without_models_says_so(stores: Stores) -> None:
    for arguments, message in (((), "no model is kept"), (("--device", "D1"), "no model of D1 is kept")):
        done = CliRunner().invoke(app, ["models", "list", *arguments])
        assert done.exit_code == 0
        assert message in done.stderr
        assert message not in done.stdout
