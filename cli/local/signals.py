"""Asked to end: by Ctrl-C, SIGTERM, or because the terminal is closed."""

import signal
import threading
from types import FrameType

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_event() -> threading.Event:
    """Set when this process is asked to end."""
    stopped = threading.Event()
    for number in ASKED:
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def interrupt_when_asked() -> None:
    """Have this process raise KeyboardInterrupt when asked to end; whoever asks twice waits for the same end."""

    def interrupt(_: int, __: FrameType | None) -> None:
        for number in ASKED:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in ASKED:
        signal.signal(number, interrupt)
