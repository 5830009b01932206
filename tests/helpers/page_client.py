"""A page without a browser: Gradio's requests, as the page's own script makes them."""

import html
import json
import re
import uuid

import httpx


class PageClient:
    """One visitor's page at an address."""

    def __init__(self, address, headers=None, query="", **options):
        self.http = httpx.Client(headers=headers, timeout=60, trust_env=False, **options)
        self.query = query  # of the page's own address
        self.address, self.session = address.rstrip("/"), uuid.uuid4().hex[:12]
        self.config = self.http.get(f"{self.address}/config").json()
        self.components = {part["id"]: part for part in self.config["components"]}
        self.values = {key: part["props"].get("value") for key, part in self.components.items()}

    @property
    def root(self):
        """The address that the server tells its page."""
        return self.config["root"] + self.config["api_prefix"]

    def find(self, name):
        """The number of a component by its id in the page, or by its label's first words."""
        parts = {key: part["props"] for key, part in self.components.items()}
        for key, props in parts.items():
            if props.get("elem_id") == name:
                return key
        for key, props in parts.items():
            if (props.get("label") or "").lower().startswith(name.lower()):
                return key
        raise KeyError(name)

    def upload(self, name, path, file_name=None):
        """Uploads a file into a field, and tells the server that it changed."""
        with open(path, "rb") as file:
            answer = self.http.post(
                f"{self.root}/upload", files={"files": (file_name or path.name, file)}
            )
        answer.raise_for_status()
        self.values[self.find(name)] = {
            "path": answer.json()[0],
            "orig_name": file_name or path.name,
            "meta": {"_type": "gradio.FileData"},
        }
        return self.trigger(name, "change")

    def fill(self, **values):
        """Puts values into fields by their names in the page."""
        for name, value in values.items():
            self.values[self.find(name.replace("_", " "))] = value

    def list_handlers(self, name, event):
        """The handlers of an event of a component."""
        key = self.find(name)
        return [part for part in self.config["dependencies"] if [key, event] in part["targets"]]

    def trigger(self, name, event):
        """Runs all handlers of an event."""
        for part in self.list_handlers(name, event):
            if part["backend_fn"]:
                for _ in self.follow(part):
                    pass

    def post(self, place, dependency):
        """Sends a handler its values; the answer."""
        body = {
            "data": [self.values[key] for key in dependency["inputs"]],
            "fn_index": dependency["id"],
            "session_hash": self.session,
            "event_data": None,
        }
        answer = self.http.post(f"{self.root}/{place}{self.query}", json=body)
        answer.raise_for_status()
        return answer.json()

    def follow(self, dependency):
        """Runs a handler in the queue; yields its messages, and keeps the values it returns."""
        event = self.event = self.post("queue/join", dependency)["event_id"]
        with self.http.stream(
            "GET", f"{self.root}/queue/data", params={"session_hash": self.session}
        ) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line else {}
                if message.get("event_id") != event:
                    continue
                yield message
                for key, value in zip(
                    dependency["outputs"], message.get("output", {}).get("data") or (), strict=False
                ):
                    self.keep(key, value)
                if message["msg"] == "process_completed":
                    return

    def keep(self, key, value):
        """Keeps a component's new value, or new properties."""
        if isinstance(value, dict) and value.get("__type__") == "update":
            self.components[key]["props"].update(value)
            if "value" not in value:
                return
            value = value["value"]
        self.values[key] = value

    @property
    def generation(self):
        """The handler that generates."""
        return self.find_handler("generate")

    def find_handler(self, button):
        """The handler of a button that makes a result: the one that has inputs."""
        return next(part for part in self.list_handlers(button, "click") if part["inputs"])

    def press_cancel(self):
        """Presses the other button: its handler, then what Gradio's script does by itself."""
        for part in self.list_handlers("cancel", "click"):
            if part["backend_fn"]:
                for key, value in zip(
                    part["outputs"], self.post("run/predict", part)["data"], strict=True
                ):
                    self.keep(key, value)
            for number in part["cancels"]:
                body = {"session_hash": self.session, "fn_index": number, "event_id": self.event}
                self.http.post(f"{self.root}/cancel", json=body).raise_for_status()

    def generate(self):
        """Presses the button; what the status line says at the end."""
        messages = list(self.follow(self.generation))
        assert messages[-1]["success"], messages[-1]
        return self.read("status")

    def read(self, name):
        """The text of an HTML component."""
        text = html.unescape(re.sub("<[^>]*>", " ", self.values[self.find(name)] or ""))
        return " ".join(text.split())
