"""Tensors of published files: safetensors, or PyTorch's formats with torch as an optional extra.

PyTorch files are pickles; they are read with `weights_only`, which allows tensors and plain
containers and runs no code. Objects of modules that the caller names may be in the file too: each
becomes an empty object, and no code of theirs is loaded or run.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError, one_line
from vssflow_jax.common.files import hash_file, read_json, to_path
from vssflow_jax.common.safetensors_io import Lazy, read_arrays

SAFETENSORS = (".safetensors",)
PYTORCH = (".ckpt", ".pt", ".pth", ".bin", ".model")
NESTED = ("state_dict", "model", "model_state")  # where checkpoints keep their state dict
INDEX = ".index.json"  # ending of the list of files that share a model's tensors
# Files of a folder with weights, as diffusers and transformers name them.
STEMS = ("model", "diffusion_pytorch_model", "pytorch_model")
STATE_FILES = tuple(
    f"{stem}{ending}{index}"
    for ending in (".safetensors", ".bin")
    for stem in STEMS
    for index in ("", INDEX)
)
COMPILED = "constants.pkl"  # in TorchScript's archives alone


class InertObject:
    """A stand-in for an object of a file: takes any arguments, and keeps the attributes."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        self.attributes: Mapping = {}

    def __setstate__(self, state):
        self.attributes = state if isinstance(state, Mapping) else {}


def find_state(path: str | Path) -> Path:
    """The file of a state dict: itself, or the one in a folder; either may be a name on the hub.

    Raises:
      InputError: a folder without such a file.
    """
    path = hub.find_path(path)
    if not path.is_dir():
        return path
    for name in STATE_FILES:
        if (path / name).exists():
            return path / name
    raise InputError(
        f"{path}: a folder without {STATE_FILES[0]}, {STATE_FILES[1]} or the like, expected a file"
    )


def list_parts(path: Path) -> list[Path]:
    """The files that have the tensors: those of an index, or the file itself.

    Raises:
      InputError: a damaged index, or one with names that are no files beside it.
    """
    if not path.name.endswith(INDEX):
        return [path]
    return [path.parent / name for name in sorted(set(_read_index(path).values()))]


def _read_index(path: Path) -> Mapping[str, str]:
    """The file of each tensor."""
    index = read_json(path, "the index of a model's files").get("weight_map")
    if not isinstance(index, dict) or not index:
        raise InputError(f"{path}: found no weight_map, expected the file of each tensor")
    for name in index.values():
        if not isinstance(name, str) or Path(name).name != name or name.endswith(INDEX):
            raise InputError(f"{path}: found {name!r:.80}, expected the name of a file beside it")
    return index


def hash_state(path: Path) -> str:
    """SHA-256 of a file; of several, that of their hashes in the order of their names."""
    digests = [hash_file(part) for part in list_parts(path)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def read_tensors(path: str | Path, inert: Sequence[str] = ()) -> dict[str, Lazy]:
    """Tensors of a file by name; each is read when it is used.

    Args:
      path: safetensors, or PyTorch's: a Lightning checkpoint, a bare state dict, one under
        `model`, or (with `__torch__.` among `inert`) a TorchScript archive; or the index
        (`.index.json`) of several such files.
      inert: prefixes of class names whose objects become empty ones instead of an error.

    Raises:
      InputError: names the file, and what is wrong with it.
    """
    path = to_path(path)
    if not path.is_file():
        problem = "a folder" if path.exists() else "no such file"
        raise InputError(f"{path}: {problem}, expected one of {SAFETENSORS + PYTORCH}")
    if path.name.endswith(INDEX):
        return _read_parts(path, inert)
    if path.suffix.lower() in SAFETENSORS:
        return read_arrays(path)
    if path.suffix.lower() in PYTORCH:
        return _read_pytorch(path, tuple(inert))
    raise InputError(
        f"{path}: found the ending {path.suffix!r}, expected one of {SAFETENSORS + PYTORCH}"
    )


def _read_parts(path: Path, inert: Sequence[str]) -> dict[str, Lazy]:
    """The tensors of an index, each from its file."""
    index, parts = _read_index(path), {}
    for part in list_parts(path):
        if not part.is_file():
            raise InputError(f"{path}: found no {part.name} beside it, expected all its files")
        parts[part.name] = read_tensors(part, inert)
    for name, file in index.items():
        if name not in parts[file]:
            raise InputError(f"{path}: found no tensor {name} in {file}, expected it there")
    return {name: parts[file][name] for name, file in index.items()}


def _read_pytorch(path: Path, inert: tuple[str, ...]) -> dict[str, Lazy]:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path}: reading a PyTorch file needs torch, expected it installed: "
            'pip install "vssflow_jax[torch]"'
        ) from None
    try:
        zipped = zipfile.is_zipfile(path)  # files from before 2020 are not, and cannot be mapped
        file = _strip_code(path) if zipped and "__torch__." in inert else path
        allowed = _inert_classes(torch, file, inert) if zipped and inert else []
        with torch.serialization.safe_globals(allowed):
            content = torch.load(
                file, map_location="cpu", weights_only=True, mmap=zipped and file is path
            )
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"{path}: {_explain_failure(error)}") from None
    if isinstance(content, InertObject):
        content = dict(_walk_tensors(content, torch.Tensor))
    state = content
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            state = content[key]
    if not isinstance(state, Mapping):
        raise InputError(f"{path}: found a {type(state).__name__}, expected a state dict")
    return {name: _lazy(path, name, tensor, torch.Tensor) for name, tensor in state.items()}


def _inert_classes(torch, file, inert: tuple[str, ...]) -> list:
    """An inert class for each class of the file's objects whose name begins like `inert`."""
    unknown = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    if hasattr(file, "seek"):
        file.seek(0)
    return [(type("Inert", (InertObject,), {}), name) for name in unknown if name.startswith(inert)]


def _strip_code(path: Path) -> Path | io.BytesIO:
    """A TorchScript archive without its program, to be read as tensors; other files unchanged."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if not any(name.endswith(f"/{COMPILED}") for name in names):
            return path
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w") as out:
            for name in names:
                if not name.endswith(f"/{COMPILED}") and "/code/" not in name:
                    out.writestr(name, archive.read(name))
    copy.seek(0)
    return copy


def _walk_tensors(node: InertObject, kind: type, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The tensors of a tree of objects, named by their attributes."""
    for name, value in node.attributes.items():
        if isinstance(value, InertObject):
            yield from _walk_tensors(value, kind, f"{prefix}{name}.")
        elif isinstance(value, kind):
            yield f"{prefix}{name}", value


def _explain_failure(error: Exception) -> str:
    """What torch says about a file, in one sentence."""
    called = re.search(r"GLOBAL (\S+)", str(error))
    if called:
        return f"refused, since loading it would run {called[1]}; expected tensors alone"
    return f"not a whole PyTorch file: {one_line(error)[:200]}"


def _lazy(path: Path, name, tensor, kind: type) -> Lazy:
    if not isinstance(tensor, kind):
        raise InputError(f"{path}: {name} is a {type(tensor).__name__}, expected a tensor")
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Lazy(tuple(tensor.shape), dtype, lambda: tensor.detach().numpy())
