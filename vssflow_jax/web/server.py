"""Serves the page, by itself or behind a reverse proxy."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse

from vssflow_jax.common.errors import InputError, one_line
from vssflow_jax.reports.html import render
from vssflow_jax.web.layout import make_theme

MAX_SESSIONS = 200  # visitors whose state Gradio keeps, 0.2 MB each, also after they have left
ROOT_PATH = re.compile(r"(https?://[^/?#\s]+)?(/[\w.~!$&'()*+,;=:@-]+)*", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where the page is served.

    Attributes:
      host: address.
      port: None: one that is free.
      root_path: path or address under which a reverse proxy shows it, as `parse_root_path` has it.
      max_bytes: of an uploaded file.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    root_path: str = ""
    max_bytes: int | None = None


def parse_root_path(text: str) -> str:
    """A path with a slash in front and none behind, or an address: "/dub", "https://a.org/dub".

    Raises:
      InputError: neither, or a path with parts such as `..`.
    """
    path = text.strip().rstrip("/")
    if path and "://" not in path and not path.startswith("/"):
        path = f"/{path}"
    if not ROOT_PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise InputError(
            f"--root_path: found {text!r}, expected a path such as /dub, or an address such as "
            "https://example.org/dub"
        )
    return path


@contextlib.contextmanager
def serve(blocks: gr.Blocks, options: ServerOptions) -> Iterator[str]:
    """Serves a page from a thread; its local address.

    Raises:
      InputError: the port is taken.
    """
    _bypass_proxies(options.host)
    try:
        _, address, _ = blocks.launch(
            server_name=options.host,
            server_port=options.port,
            root_path=options.root_path,
            share=False,
            inbrowser=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=options.max_bytes,
            state_session_capacity=MAX_SESSIONS,
            theme=make_theme(),
            css=render("app.css"),
            head=f"<script>{render('app.js')}</script>",
            ssr_mode=False,
            strict_cors=True,
            app_kwargs={
                "middleware": [Middleware(ProxyMiddleware, root_path=options.root_path)],
            },
        )
    except OSError as error:
        raise InputError(f"--port={options.port}: {one_line(error)}") from None
    try:  # an interrupt from here on must close the server, whose thread would go on
        yield address
    finally:
        blocks.close(verbose=False)


def _bypass_proxies(host: str) -> None:
    """Lets Gradio's check of its own server reach it where HTTP_PROXY names another one."""
    for name in ("no_proxy", "NO_PROXY"):
        hosts = {os.environ.get(name, ""), "127.0.0.1", "localhost", "::1", host}
        os.environ[name] = ",".join(sorted(hosts - {""}))


class ProxyMiddleware:
    """Makes the page work behind a reverse proxy that passes on the path of `root_path`.

    Other proxies remove it, and both kinds may be in front of one server. Progress is a stream of
    events, which proxies must not collect before they pass it on.

    Args:
      app: the server.
      root_path: as `parse_root_path` has it.
    """

    def __init__(self, app, root_path: str):
        self.app, self.prefix = app, urlsplit(root_path).path

    async def __call__(self, scope, receive, send) -> None:
        """Answers a request (ASGI)."""
        path = scope.get("path", "")
        if self.prefix and path == self.prefix:  # addresses in the page are relative to its own
            redirect = RedirectResponse(f"{self.prefix.rpartition('/')[2]}/")
            await redirect(scope, receive, send)
            return
        if self.prefix and path.startswith(f"{self.prefix}/"):
            scope = {**scope, "path": path.removeprefix(self.prefix)}

        async def send_unbuffered(message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/event-stream"):
                    headers["X-Accel-Buffering"] = "no"
            await send(message)

        await self.app(scope, receive, send_unbuffered)
