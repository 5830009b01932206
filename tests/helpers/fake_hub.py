"""A Hugging Face hub on this machine: repositories that are folders, and the commits it receives.

It answers what huggingface_hub 2 asks for a download of a snapshot and for an upload of a folder.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"  # of every repository


class FakeHub:
    """The hub.

    Attributes:
      root: has models/ORG/NAME and datasets/ORG/NAME, the repositories.
      requests: (method, path) of each request.
      uploads: content of each uploaded file by `ORG/NAME@BRANCH/PATH`.
    """

    def __init__(self, root):
        self.root, self.requests, self.uploads = Path(root), [], {}
        self.large = {}  # contents by SHA-256, uploaded before the commit that names them

    def list_files(self, kind, repository):
        """Paths of a repository's files; None: there is no such repository."""
        folder = self.root / kind / repository
        if not folder.is_dir():
            return None
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return [path.relative_to(folder).as_posix() for path in files]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgment

    def log_message(self, *_):
        """Nothing on the screen."""

    def _answer(self, content=None, status=200, body=b"", **headers):
        if content is not None:
            body, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        length = headers.get("size", len(body))
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _read(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            out = b""
            while size := int(self.rfile.readline(), 16):
                out += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return out
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _respond(self):
        hub, body = self.server.hub, self._read()
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        hub.requests.append((self.command, path))
        if match := re.fullmatch(r"/large/(\w+)", path):
            hub.large[match[1]] = body
            return self._answer({})
        if match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.*)", path):
            return self._send_file(match)
        if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/(.*)", path):
            return self._answer_api(*match.groups(), body)
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            name = "{organization}/{name}".format(**json.loads(body))
            return self._answer({"url": f"http://{self.headers['Host']}/{name}", "name": name})
        if match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self._offer_uploads(json.loads(body))
        return self._answer({"error": "Not found"}, status=404)

    do_GET = do_HEAD = do_POST = do_PUT = _respond

    def _send_file(self, match):
        path = self.server.hub.root / (match[1] or "models") / match[2] / match[4]
        if not path.is_file():
            return self._answer({"error": "Not found"}, status=404)
        body = path.read_bytes()
        etag = hashlib.sha256(body).hexdigest()
        return self._answer(body=body, ETag=f'"{etag}"', X_Repo_Commit=COMMIT)

    def _answer_api(self, kind, repository, rest, body):
        hub = self.server.hub
        action, _, revision = rest.partition("/")
        if action == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "lfs" if f["size"] > 4096 else "regular",
                 "shouldIgnore": False}
                for f in files
            ]  # fmt: skip
            return self._answer({"files": modes})
        if action == "commit":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                name = f"{repository}@{revision}/{value.get('path')}"
                if line["key"] == "file":
                    hub.uploads[name] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.uploads[name] = hub.large[value["oid"]]
            url = f"http://{self.headers['Host']}/{repository}/commit/{COMMIT}"
            return self._answer({"commitUrl": url, "commitOid": COMMIT, "success": True})
        if action == "branch":
            return self._answer({})
        files = hub.list_files(kind, repository)
        if files is None:
            headers = {"X_Error_Code": "RepoNotFound"}
            return self._answer(status=404, body=b'{"error": "Repository not found"}', **headers)
        if action == "revision":
            info = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files],
                    "private": False, "tags": [], "downloads": 0, "likes": 0}  # fmt: skip
            return self._answer(info)
        root = hub.root / kind / repository
        tree = [
            {"type": "file", "path": f, "size": (root / f).stat().st_size, "oid": "0" * 40}
            for f in files
        ]
        return self._answer(tree)

    def _offer_uploads(self, batch):
        root = f"http://{self.headers['Host']}"
        objects = [
            {"oid": o["oid"], "size": o["size"],
             "actions": {"upload": {"href": f"{root}/large/{o['oid']}", "header": {}}}}
            for o in batch["objects"]
        ]  # fmt: skip
        return self._answer({"transfer": "basic", "objects": objects})


@contextlib.contextmanager
def serve_hub(root):
    """A block with a hub and its address."""
    hub = FakeHub(root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub, server.daemon_threads = hub, True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
