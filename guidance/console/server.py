"""Serves the page, its WebSocket, metrics and health on loopback. A slow page never delays the service."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from guidance.console.client import MAX_BYTES, POLICY_VIOLATION, Client
from guidance.console.desk import Desk
from guidance.console.health import health, metrics
from guidance.service.room import Room

PORT_VARIABLE = "GUIDANCE_CONSOLE_PORT"
STATIC = Path(__file__).parent / "static"
NEEDED = ("preact-htm.js", "uPlot.esm.js", "uPlot.min.css")  # without these the plain page is served
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class SecureHeaders:
    """Every response forbids foreign scripts, frames and guesses of its type."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the response's start."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += _HEADERS
            await send(message)

        await self._app(scope, receive, with_headers)


def missing_files() -> list[str]:
    """Browser files of others that set-up did not bring."""
    return [name for name in NEEDED if not (STATIC / "vendor" / name).exists()]


def build_app(desk: Desk) -> Starlette:
    """The console's routes."""

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / ("plain.html" if missing_files() else "index.html"))

    async def plain(request: Request) -> Response:
        return FileResponse(STATIC / "plain.html")

    async def feed(socket: WebSocket) -> None:
        if socket.headers.get("origin", "") != f"http://{socket.headers.get('host', '')}":
            await socket.close(POLICY_VIOLATION, "another origin")
            return
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect, asyncio.IncompleteReadError):
            await Client(socket, desk).serve()

    async def numbers(request: Request) -> Response:
        return PlainTextResponse(metrics(desk), media_type="text/plain; version=0.0.4")

    async def healthy(request: Request) -> Response:
        body = health(desk)
        return JSONResponse(body, status_code=200 if body["ok"] else 503)

    routes = [
        Route("/", page),
        Route("/plain", plain),
        Route("/metrics", numbers),
        Route("/health", healthy),
        WebSocketRoute("/feed", feed),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(SecureHeaders)])


@contextlib.asynccontextmanager
async def serve_console(room: Room, port: int = 0) -> AsyncIterator[str]:
    """Serve the console of `room` on loopback; yields the operator's address with its token.

    Port 0 takes the one in GUIDANCE_CONSOLE_PORT, or a free one.
    """
    desk = Desk(room)
    config = uvicorn.Config(
        build_app(desk),
        host="127.0.0.1",
        port=port or int(os.environ.get(PORT_VARIABLE, "0")),
        log_level="error",
        lifespan="off",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=MAX_BYTES,
        ws_ping_interval=5.0,
        ws_ping_timeout=5.0,
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    socket = config.bind_socket()
    task = asyncio.create_task(server.serve(sockets=[socket]))
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/#token={desk.tokens.operator}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
        socket.close()
        desk.sources.close()
