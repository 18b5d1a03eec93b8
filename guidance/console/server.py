"""Serves the page and its WebSocket on loopback. A slow page drops frames; it never delays the service."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from guidance.console.view import View
from guidance.service.room import Room

STATIC = Path(__file__).parent / "static"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'"
HEARTBEAT_S = 0.1


class SecureHeaders:
    """Every response forbids foreign scripts, frames and guesses of its type."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the response's start."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [
                    (b"content-security-policy", POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cache-control", b"no-store"),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)


@contextlib.asynccontextmanager
async def serve_console(room: Room, port: int = 0) -> AsyncIterator[str]:
    """Serve the console of `room` on a free port of loopback; yields its address."""
    view = View(room)

    async def page(request: object) -> Response:
        return FileResponse(STATIC / "index.html")

    async def feed(socket: WebSocket) -> None:
        origin = socket.headers.get("origin", "")
        if origin != f"http://{socket.headers.get('host', '')}":
            await socket.close(1008)
            return
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect, asyncio.IncompleteReadError):
            await _feed(socket, view)

    routes = [Route("/", page), WebSocketRoute("/feed", feed), Mount("/static", StaticFiles(directory=STATIC))]
    app = Starlette(routes=routes, middleware=[Middleware(SecureHeaders)])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", lifespan="off", ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    socket = config.bind_socket()
    task = asyncio.create_task(server.serve(sockets=[socket]))
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
        socket.close()


async def _feed(socket: WebSocket, view: View) -> None:
    """State ten times a second, and the newest picture of each view when it changed."""
    nonce = secrets.token_hex(8)
    sent: dict[str, int] = {}
    while True:
        await socket.send_text(json.dumps({"nonce": nonce, **view.state()}))
        for name, number, jpeg in view.pictures():
            if sent.get(name) != number:
                sent[name] = number
                await socket.send_bytes(name.encode().ljust(16, b"\0") + jpeg)
        await asyncio.sleep(HEARTBEAT_S)
