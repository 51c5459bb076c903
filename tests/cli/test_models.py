from typer.testing import CliRunner

from cli.main import app
from storage.devices import Device
from storage.stores import Stores


def test_models_of_an_unknown_device_cannot_be_deleted(stores: Stores) -> None:
    done = CliRunner().invoke(app, ["models", "delete", "--device", "NOPE"], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "there is no device NOPE" in done.output
    stores.session.add(Device(device_id="D1", device_name="Pump", device_type="pump"))
    stores.session.commit()
    done = CliRunner().invoke(app, ["models", "delete", "--device", "D1"])
    assert (done.exit_code, done.output) == (0, "0 models were deleted\n")


def test_a_list_without_models_says_so(stores: Stores) -> None:
    for arguments, message in (((), "no model is kept"), (("--device", "D1"), "no model of D1 is kept")):
        done = CliRunner().invoke(app, ["models", "list", *arguments])
        assert done.exit_code == 0
        assert message in done.stderr
        assert message not in done.stdout
