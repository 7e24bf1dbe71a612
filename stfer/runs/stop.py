"""Ctrl-C and SIGTERM: save and leave, within seconds even when a long compilation holds the main thread.

Python runs its signal handlers in the main thread, between two of its instructions. A compilation or a
long device call keeps it from that, so a second thread listens on the wake-up descriptor that the
C-level handler writes to. It sets the request, which training asks for between steps; when the process
has not left after the grace period (or at another signal, later) it ends the process. Checkpoints and
results are renamed into place, so what is on disk then is whole.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

GRACE_SECONDS = 10.0
# A terminal's or scheduler's signal and the same one handed on by a parent are one.
SAME_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Becomes true when the process is asked to stop (Ctrl-C, SIGTERM)."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """The shell's code for a process that its signal ended."""
        return 128 + int(self.signal or 0)


@contextlib.contextmanager
def stop_requests(grace_seconds: float = GRACE_SECONDS) -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM into a request to save and leave; one a second later leaves at once.

    Args:
        grace_seconds: How long the work may take to leave by itself.
    """
    request = StopRequest()
    heard, wake = socket.socketpair()
    wake.setblocking(False)

    def handle(number: int, frame: object) -> None:
        del frame
        request.signal = signal.Signals(number)

    def listen() -> None:
        number = _next_signal(heard)
        if number is None:
            return
        request.signal = number
        first = time.monotonic()
        try:
            while (waited := time.monotonic() - first) < grace_seconds:
                heard.settimeout(grace_seconds - waited)
                if _next_signal(heard) is None:
                    return
                if time.monotonic() - first > SAME_SECONDS:
                    break
        except TimeoutError:
            pass
        message = (
            "stopped in the middle of a step; the same command goes on from the last checkpoint"
        )
        os.write(1, f"\n{message}\n".encode())
        os._exit(request.exit_code)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    old_descriptor = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, name="stop requests", daemon=True)
    listener.start()
    try:
        yield request
    finally:
        signal.set_wakeup_fd(old_descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        wake.close()
        listener.join()
        heard.close()


def _next_signal(heard: socket.socket) -> signal.Signals | None:
    """The next of our signals; None when the other end is closed."""
    while data := heard.recv(1):
        if data[0] in _SIGNALS:
            return signal.Signals(data[0])
    return None
