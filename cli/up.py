"""`energy up`: run the local platform in the foreground."""

import gc
import sys

import typer


def up() -> None:
    """Run the platform in the foreground. Ctrl-C ends it."""
    from cli.local.environment import load_settings
    from cli.local.logs import Screen
    from cli.local.services import addresses
    from cli.local.signals import stop_event
    from cli.local.supervisor import PlatformFailed, platform

    settings = load_settings()
    stopped = stop_event()
    screen = Screen()
    try:
        with platform(settings, screen) as supervisor:
            if supervisor.wait_until_ready(stopped):
                for name, address in addresses(settings).items():
                    screen.show("platform", f"{name:<14} {address}")
            while not stopped.wait(0.5):
                supervisor.check()
            screen.show("platform", "stopping")
    except PlatformFailed as error:
        screen.close()
        print(f"energy: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    screen.close()
    gc.freeze()  # the process ends: looking through its memory once more takes seconds when the processors are busy
