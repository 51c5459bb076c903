"""The signals that ask a process to stop: Ctrl-C, SIGTERM, and a closed terminal."""

import signal
import threading
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_event() -> threading.Event:
    """An event that is set when this process is asked to stop."""
    stopped = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def interrupt_on_stop_signals() -> None:
    """Raise KeyboardInterrupt when this process is asked to stop; further signals are ignored."""

    def interrupt(_: int, __: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in STOP_SIGNALS:
        signal.signal(number, interrupt)
