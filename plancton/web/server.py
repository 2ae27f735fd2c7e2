"""Serves the page: Starlette answers, uvicorn speaks HTTP. Nothing happens while nobody asks."""

import asyncio
import logging
import math
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from plancton.commands import control
from plancton.errors import PlanctonError
from plancton.files import to_json
from plancton.monitoring.prometheus import CONTENT_TYPE, exposition, look
from plancton.running_supervisors import paths_in_use
from plancton.web.access import Access, WebError, read_token
from plancton.web.listen import address_of, is_local, open_listener
from plancton.web.now import Watch
from plancton.web.page import OWN_POLICY, STATIC, served_page
from plancton.web.past import HANGS, LONGEST, PATIENCE, PastReader

CONNECTIONS = 64
ROUND = 10
"""Seconds to which the end of a time up to now is rounded, so that it is read once for several pages."""
HEADERS = {
    "content-security-policy": OWN_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Page:
    """What each address answers. All but the page itself are in threads: they read files."""

    def __init__(self, access: Access, watch: Watch, past: PastReader) -> None:
        self._text = served_page("" if access.asks else access.token)
        self._watch, self._past = watch, past
        self._reading_metrics = threading.Lock()

    def routes(self) -> list[Route | Mount]:
        return [
            Route("/", self.page),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/metrics", self.metrics),
            Route("/api/now", self.now),
            Route("/api/past", self.past),
            Route("/api/{name}", self.ask, methods=["POST"]),
        ]

    async def page(self, _: Request) -> Response:
        return HTMLResponse(self._text)

    def now(self, _: Request) -> Response:
        return _json(self._watch.look())

    def past(self, request: Request) -> Response:
        """Of the last ``span`` seconds, or from ``since`` to ``until``."""
        now = time.time()
        period = _period(request, now)
        if period is None:
            return _message(400, "give span, or since and until, in seconds")
        return _json(self._past.read(*period, now))

    def metrics(self, _: Request) -> Response:
        """What `plancton metrics` prints."""
        if not self._reading_metrics.acquire(timeout=PATIENCE):  # each has a copy of the history
            return _message(503, HANGS)
        try:
            now = time.time()
            text = exposition(look(paths_in_use(), now).facts, now)
        finally:
            self._reading_metrics.release()
        return Response(text, headers={"cache-control": "no-store", "content-type": CONTENT_TYPE})

    def ask(self, request: Request) -> Response:
        """What `plancton pause`, `drain`, `resume` and `stop` ask."""
        function = control.BUTTONS.get(request.path_params["name"])
        if function is None:
            return _message(404, "there is no such request")
        try:
            return _message(200, function(control.running_paths()))
        except PlanctonError as error:
            return _message(409, str(error))


def _period(request: Request, now: float) -> tuple[float, float] | None:
    given = request.query_params
    try:
        if "span" in given:
            until = float(int(now) // ROUND * ROUND + ROUND)
            since = until - float(given["span"])
        else:
            since, until = float(given["since"]), min(float(given["until"]), now)
    except (KeyError, ValueError):
        return None
    good = math.isfinite(since) and until - LONGEST <= since < until and since >= now - 2 * LONGEST
    return (since, until) if good else None


def _json(data: bytes, code: int = 200) -> Response:
    return Response(data, code, {"cache-control": "no-store"}, "application/json")


def _message(code: int, text: str) -> Response:
    return _json(to_json({"message": text}), code)


class Guard:
    """Stands before all of it: what is refused reaches nothing."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-cache")
                headers["date"] = formatdate(usegmt=True)
            await send(message)

        refusal = self._access.refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            await _message(*refusal)(scope, receive, send_with_headers)


def make_app(access: Access, watch: Watch, past: PastReader) -> ASGIApp:
    return Guard(Starlette(routes=Page(access, watch, past).routes()), access)


def bounded(most: int) -> type[H11Protocol]:
    """Connections of which at most so many are open: one more ends the one that has been silent for
    longest. So those that hang never keep out who asks for something."""
    there = dict[H11Protocol, None]()

    class Connection(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            there[self] = None
            if len(there) > most:
                silent = next(iter(there))
                del there[silent]
                silent.transport.abort()

        def data_received(self, data: bytes) -> None:
            if self in there:
                there[self] = there.pop(self)
            super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            there.pop(self, None)
            super().connection_lost(exc)

    return Connection


class Server(uvicorn.Server):
    """Says so once it answers, and sleeps while nobody asks: uvicorn's own wakes ten times a second."""

    def __init__(self, config: uvicorn.Config, answers: Callable[[], None]) -> None:
        super().__init__(config)
        self._answers = answers
        self._over = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn's own handlers do not wake a loop that a signal finds about to sleep.
            loop.add_signal_handler(number, self.handle_exit, number, None)
        await super().startup(sockets)
        self._answers()

    async def main_loop(self) -> None:
        if not self.should_exit:
            await self._over.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._over.set()


def serve_page(listen: str, token_file: Path | None, say: Callable[[str], None]) -> None:
    """Until a signal ends it. Raises WebError."""
    token = None if token_file is None else read_token(token_file)
    listener = open_listener(listen)
    if token is None and not is_local(listener):
        raise WebError(f"--listen {listen}: others can reach that: add --token-file FILE")
    app = make_app(Access(is_local(listener), token), Watch(), PastReader(lambda: paths_in_use().state))
    config = uvicorn.Config(
        app,
        http=bounded(CONNECTIONS),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=2,
    )
    asked = f", which asks for the token in {token_file}" if token_file else ""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what is no request is nobody's concern
    for number in (signal.SIGTERM, signal.SIGINT):  # which uvicorn sends again when it has ended
        signal.signal(number, lambda *_: sys.exit(0))
    sentence = f"The page is at {address_of(listener)}{asked}. Ctrl-C ends it."
    Server(config, lambda: say(sentence)).run(sockets=[listener])
