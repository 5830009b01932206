"""A small reverse proxy for tests: one path of its own, another server behind it."""

import contextlib
import socket
import threading

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]


def make_app(target, prefix, *, strips=True, host="own", scheme=None):
    """The proxy of the server at the address `target`, which it shows under a path.

    Args:
      target: address without a slash at its end.
      prefix: such as "/dub"; other paths are not found.
      strips: whether it removes the prefix, as nginx does for addresses that end with a slash.
      host: "own": passes the visitor's Host on; "forwarded": in X-Forwarded-Host alone; "none":
        not at all, as nginx does by itself.
      scheme: for X-Forwarded-Proto.
    """
    client = httpx.AsyncClient(base_url=target, timeout=None, trust_env=False)

    async def forward(request: Request):
        path = request.url.path
        if path == "/favicon.ico":  # browsers ask for it beside any page
            return PlainTextResponse("", 204)
        if path != prefix and not path.startswith(f"{prefix}/"):
            return PlainTextResponse("not the page", 404)
        headers = {k: v for k, v in request.headers.items() if k not in {"host", *HOP_BY_HOP}}
        if host == "own":
            headers["host"] = request.headers["host"]
        if host == "forwarded":
            headers["x-forwarded-host"] = request.headers["host"]
        if scheme:
            headers["x-forwarded-proto"] = scheme
        raw = request.scope["raw_path"].decode()
        url = httpx.URL(
            target + ((raw.removeprefix(prefix) or "/") if strips else raw),
            query=request.url.query.encode(),
        )
        passed = client.build_request(
            request.method, url, headers=headers, content=request.stream()
        )
        answer = await client.send(passed, stream=True)
        answer_headers = {k: v for k, v in answer.headers.items() if k not in HOP_BY_HOP}
        return StreamingResponse(stream(answer), answer.status_code, answer_headers)

    async def stream(answer):
        try:
            async for chunk in answer.aiter_raw():
                yield chunk
        finally:
            await answer.aclose()

    return Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)])


@contextlib.contextmanager
def run(app):
    """Runs a proxy in a thread; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
