"""A fake of Google Cloud Storage: the part of its JSON API that gcsfs, TensorStore and Orbax use.

Objects live in memory. As in the real one, an object appears whole or not at all, has a
generation that conditions of requests name, and there are no folders.
"""

import contextlib
import http.server
import itertools
import json
import os
import re
import sys
import threading
import urllib.parse

BUCKET = "fake"


class Store:
    """Objects by name: bytes and generation."""

    def __init__(self):
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.sessions: dict[str, tuple[str, dict, bytearray]] = {}
        self.lock, self._numbers = threading.RLock(), itertools.count(1)

    def generation(self, name):
        """The generation of an object; 0 where there is none."""
        return self.objects[name][1] if name in self.objects else 0

    def put(self, name, data):
        """Stores an object; its description."""
        self.objects[name] = (bytes(data), next(self._numbers))
        return self.describe(name)

    def new_session(self, name, query):
        """Starts a resumable upload; its id."""
        session = str(next(self._numbers))
        self.sessions[session] = (name, query, bytearray())
        return session

    def describe(self, name):
        """The metadata of an object."""
        data, generation = self.objects[name]
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": BUCKET,
            "id": f"{BUCKET}/{name}/{generation}",
            "size": str(len(data)),
            "generation": str(generation),
            "metageneration": "1",
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "contentType": "application/octet-stream",
        }

    def list(self, prefix, delimiter, start, end):
        """Objects and common prefixes under a prefix."""
        items, prefixes = [], set()
        for name in sorted(self.objects):
            if not name.startswith(prefix) or name < start or (end and name >= end):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                items.append(self.describe(name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers requests from the server's store."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgment

    def log_message(self, *_):
        """Writes no log."""

    def handle_request(self):
        """Any request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        with self.server.store.lock:
            status, data, headers = self.answer(self.command, self.path, body, self.headers)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = handle_request

    def answer(self, method, url, body, headers):
        """Status, body and headers of the answer to a request."""
        parts = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        path = parts.path
        if path.startswith("/batch"):
            return self.answer_batch(body, headers)
        if path.startswith(("/upload/", "/resumable/")):
            return self.answer_upload(method, path, query, body, headers)
        if re.fullmatch(r"(/storage/v1)?/b/[^/]+/?", path):
            return as_json({"kind": "storage#bucket", "name": BUCKET, "id": BUCKET})
        if re.fullmatch(r"(/storage/v1)?/b/[^/]+/o/?", path):
            names = ("prefix", "delimiter", "startOffset", "endOffset")
            return as_json(self.server.store.list(*(query.get(name, "") for name in names)))
        match = re.fullmatch(r"(?:/download)?(?:/storage/v1)?/b/[^/]+/o/(.+)", path)
        if not match:
            return as_json({"error": {"code": 404, "message": path}}, 404)
        return self.answer_object(method, match[1], query, headers)

    def answer_object(self, method, name, query, headers):
        """Reads, removes or copies an object."""
        store = self.server.store
        copy = re.fullmatch(r"(.+?)/(?:rewriteTo|copyTo)/b/[^/]+/o/(.+)", name)
        name, *target = map(urllib.parse.unquote, copy.groups() if copy else (name,))
        if name not in store.objects:
            return as_json({"error": {"code": 404, "message": f"No such object: {name}"}}, 404)
        if failed := self.failed_condition(name, query):
            return failed
        data, generation = store.objects[name]
        if target:
            resource = store.put(target[0], data)
            return as_json({"done": True, "resource": resource, **resource})
        if method == "DELETE":
            del store.objects[name]
            return 204, b"", {}
        if query.get("alt") != "media":
            return as_json(store.describe(name))
        extra = {"x-goog-generation": str(generation), "Content-Type": "application/octet-stream"}
        span = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("Range") or "")
        if not span:
            return 200, data, extra
        first, last = span.groups()
        start = int(first) if first else max(len(data) - int(last), 0)
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        if start >= len(data):
            return 416, b"", {"Content-Range": f"bytes */{len(data)}"}
        extra["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return 206, data[start:stop], extra

    def failed_condition(self, name, query):
        """The answer where a condition of the request does not hold; None where all do."""
        actual = str(self.server.store.generation(name))
        if query.get("ifGenerationMatch", actual) != actual:
            return as_json({"error": {"code": 412, "message": "conditionNotMet"}}, 412)
        if query.get("ifGenerationNotMatch") == actual:
            return 304, b"", {}
        return None

    def answer_upload(self, method, path, query, body, headers):
        """Uploads in one request, in parts of a message, or resumable."""
        store = self.server.store
        if path.startswith("/resumable/"):
            session = path.rpartition("/")[2]
            name, query, data = store.sessions[session]
            span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers["Content-Range"])
            data += body
            if span[2] == "*" or len(data) < int(span[2]):
                return 308, b"", {"Range": f"bytes=0-{len(data) - 1}"} if data else {}
            del store.sessions[session]
            return self.failed_condition(name, query) or as_json(store.put(name, data))
        kind = query.get("uploadType")
        if kind == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            session = store.new_session(name, query)
            address = f"http://{headers['Host']}/resumable/{session}"
            return 200, b"", {"Location": address}
        if kind == "multipart":
            facts, data = split_parts(body, headers)
            name = json.loads(facts)["name"]
        else:
            name, data = query["name"], body
        return self.failed_condition(name, query) or as_json(store.put(name, data))

    def answer_batch(self, body, headers):
        """Several requests in one."""
        parts = []
        for part in split_parts(body, headers):
            method, url, _ = part.decode().split(None, 2)
            status, data, _ = self.answer(method, url, b"", {})
            parts.append(
                f"--batch\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status} \r\n"
                f"Content-Type: application/json\r\n\r\n{data.decode()}\r\n"
            )
        data = ("".join(parts) + "--batch--\r\n").encode()
        return 200, data, {"Content-Type": "multipart/mixed; boundary=batch"}


class Server(http.server.ThreadingHTTPServer):
    """The server; clients that hang up, such as killed ones, are no error."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        """Reports all other errors."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def split_parts(body, headers):
    """The contents of a message of several parts, which may be binary."""
    boundary = re.search(r'boundary="?([^";]+)', headers["Content-Type"])[1]
    parts = body.split(f"--{boundary}".encode())[1:-1]
    return [
        re.split(rb"\r?\n\r?\n", part, maxsplit=1)[1].removesuffix(b"\n").removesuffix(b"\r")
        for part in parts
    ]


def as_json(value, status=200):
    """An answer with a JSON body."""
    return status, json.dumps(value).encode(), {"Content-Type": "application/json"}


@contextlib.contextmanager
def serve_bucket():
    """Serves an empty bucket: yields the store, and the environment in which gs:// is it."""
    server = Server(("127.0.0.1", 0), Handler)
    server.store = Store()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    environment = {
        "STORAGE_EMULATOR_HOST": address,
        "TENSORSTORE_GCS_HTTP_URL": address,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "fake",
        "GOOGLE_CLOUD_PROJECT": "fake",
        "FSSPEC_GCS_TOKEN": "anon",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks another API first
    }
    try:
        yield server.store, environment
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def bucket_in_process():
    """As `serve_bucket`, also for this process; yields the store."""
    with serve_bucket() as (store, environment):
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        import fsspec
        import gcsfs

        fsspec.config.conf.setdefault("gcs", {})["token"] = "anon"
        gcsfs.GCSFileSystem.clear_instance_cache()
        try:
            yield store
        finally:
            gcsfs.GCSFileSystem.clear_instance_cache()
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
