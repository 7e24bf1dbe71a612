"""Serves the live page: to whom it answers, and the messages that it sends.

The page gets a message a frame as a server-sent event
(https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

import contextlib
import errno
import http.server
import ipaddress
import json
import socket
import threading
from typing import Any

HOST = "127.0.0.1"
ALL = ("", "0.0.0.0")  # every address of this machine
ENDED = "ended"  # the key of the last message


class Messages:
    """The newest message to the pages; each page waits for the next one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number, self._text = 0, ""

    def put(self, message: dict[str, Any]) -> None:
        """Replace the message."""
        with self._changed:
            self._number += 1
            self._text = json.dumps(message, separators=(",", ":"))
            self._changed.notify_all()

    def after(self, number: int, timeout: float) -> tuple[int, str]:
        """The newest message and its number, when there is one after `number`; `number` and "" when none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > number, timeout)
            return (self._number, self._text) if self._number > number else (number, "")


def make_server(
    host: str, port: int, page: str, messages: Messages
) -> http.server.ThreadingHTTPServer:
    """A server of the page at `/` and its messages at `/events`.

    It answers requests for its own address only, so that no other site's page can read the frames through a name that
    leads here.

    Raises:
        OSError: The address cannot be served, or the port is taken.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 5  # seconds that a page may take to read a message

        def do_GET(self) -> None:
            if not is_own_name(self.headers.get("Host") or "", host):
                self.send_error(403)
            elif self.path.partition("?")[0] == "/":
                self._answer("text/html; charset=utf-8", page.encode())
            elif self.path == "/events":
                with contextlib.suppress(OSError):  # The page has gone.
                    self._events()
            else:
                self.send_error(404)

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def _events(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            number, text = 0, ""
            while f'"{ENDED}"' not in text[:20]:
                number, text = messages.after(number, 5.0)
                # A comment now and then tells whether the page is still there.
                self.wfile.write(f"data: {text}\n\n".encode() if text else b": waiting\n\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    try:
        server = http.server.ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise _unserved(host, port, error) from None
    server.daemon_threads = False  # Closing waits until every page has heard of the end.
    return server


def is_own_name(asked: str, host: str) -> bool:
    """Whether a request's `Host` is an address of a server that is bound to `host`, not a name that was led to it.

    Args:
        asked: The header, with a port or without.
        host: As of `make_server`. Bound to all addresses, the server goes by any number: a name can be led here, a
            number cannot, and behind a forwarded port it is another machine's.
    """
    name, host = asked.partition(":")[0].lower(), host.lower()
    if host in ALL:
        return name in ("localhost", socket.gethostname().lower()) or _is_number(name)
    return name == host or (is_loopback(host) and (name == "localhost" or is_loopback(name)))


def is_loopback(host: str) -> bool:
    """Whether an address is seen by this machine alone."""
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)


def _is_number(name: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


def check_address(host: str, port: int) -> None:
    """Raise OSError where `serve_live` could not serve the address now, before anything is loaded for it."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            raise _unserved(host, port, error) from None


def _unserved(host: str, port: int, error: OSError) -> OSError:
    """Why an address cannot be served, in a sentence."""
    if error.errno == errno.EADDRINUSE:
        return OSError(f"port {port} of {host} is taken: choose another, or 0 for any that is free")
    return OSError(f"port {port} of {host} cannot be served: {error.strerror}")
