"""Small folders with the layouts of published data sets; the media are empty unless said."""

import csv
import json

from helpers import in_process


def write_tree(root, files):
    """Writes files by their paths below `root`: text, bytes, or nothing."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content or b"")
    return root


def list_dataset(name, root, *flags):
    """Runs the command on a folder; its result, and the rows of the manifest by id."""
    out = root.parent / "manifest" / "clips.csv"
    done = in_process.run("datasets", name, f"--root={root}", f"--out={out}", *flags)
    if done.returncode:
        return done, {}
    with open(out, encoding="utf-8", newline="") as file:
        return done, {row["id"].partition("-")[2]: row for row in csv.DictReader(file)}


def read_missing(root):
    """(what is missing, reason) of the list beside the manifest, by id."""
    path = root.parent / "manifest" / "clips.missing.csv"
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {row["id"].partition("-")[2]: (row["missing"], row["reason"]) for row in rows}


def read_annotations(root):
    """The annotations beside the manifest, by id."""
    path = root.parent / "manifest" / "annotations.jsonl"
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return {line.pop("id").partition("-")[2]: line for line in lines}
