"""What weights a folder has, whether they are whole, and which recipes and scores still lack some.

A folder of weights has a subfolder for each kind (docs/weights.md): encoders with `encoder.json`,
codecs with `codec.json`, converted checkpoints with `config.json`. Published files that were not
converted yet are recognized by their names in `sources.SOURCES`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from vssflow_jax.bundled import CONFIG
from vssflow_jax.codecs.interface import hash_codec, load_codec
from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import file_size, hash_file, read_json
from vssflow_jax.conditions import ROUTES, VIDEO
from vssflow_jax.config import recipes
from vssflow_jax.training.checkpoint import WEIGHTS_FILE
from vssflow_jax.weights import published, sources

CODEC = "codec.json"
# Kinds of weights that an option of `evaluate` needs.
SCORES = {
    "--embedding=vggish": ("vggish",),
    "--embedding=cnn14": ("cnn14",),
    "--embedding=passt": ("passt",),
    "--measures=desync": ("desync",),
    "--measures=clap": ("clap",),
    "--measures=lse": ("syncnet",),
}
PUBLISHED_CODEC = "codec"  # of the paper's recipes, which also train with a codec that they fit
SPEECH = ("lips", "speaker")  # conditions that sounds do not have


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights in a folder.

    Attributes:
      kind: of `convert --kind`; of a file that is not converted yet, the one to convert it as.
      place: their folder or file.
      state: in words.
      hash: of converted weights; of other files their SHA-256.
      usable: whether they are converted and whole.
    """

    kind: str
    place: Path
    state: str
    hash: str = ""
    usable: bool = False


def list_weights(folder: str | Path) -> list[Weights]:
    """The weights in a folder and its subfolders, by kind and place.

    Everything is read, and compared with the hash that is stored beside it.

    Raises:
      InputError: no such folder.
    """
    folder = hub.find_path(folder)
    if not folder.is_dir():
        raise InputError(f"--check={folder}: no such folder, expected one with weights")
    entries = [*_list_converted(folder), *_list_files(folder)]
    return sorted(entries, key=lambda weights: (weights.kind, str(weights.place)))


def _list_converted(folder: Path) -> Iterator[Weights]:
    for path in sorted(folder.rglob("*.json")):
        if path.name == sources.DESCRIPTION:
            yield _check_encoder(path)
        elif path.name == CODEC:
            yield _check_codec(path.parent)
        elif path.name == CONFIG and (path.parent / WEIGHTS_FILE).is_file():
            digest = hash_file(path.parent / WEIGHTS_FILE)
            yield Weights(
                kind="vssflow", place=path.parent, state="a model", hash=digest, usable=True
            )


def _check_encoder(path: Path) -> Weights:
    place, kind = path.parent, path.parent.name
    try:
        description = read_json(path, "a converted encoder")
        kind = str(description.get("kind"))
        if kind not in published.KINDS:
            raise InputError(f"{path}, kind: found {kind!r:.40}, expected a kind of encoder")
        digest = published.load_encoder(place, kind).hash
    except InputError as error:
        return Weights(kind=kind, place=place, state=f"damaged: {error}")
    source = description.get("source")
    verified = isinstance(source, Mapping) and source.get("as_published")
    state = "converted, as published" if verified else "converted, not verified"
    if kind == "clap" and not (place / sources.TOKENIZER).is_file():
        state += f", without {sources.TOKENIZER}, which labels need"
    return Weights(kind=kind, place=place, state=state, hash=digest, usable=True)


def _check_codec(place: Path) -> Weights:
    try:
        codec = load_codec(place)
    except InputError as error:
        return Weights(kind=PUBLISHED_CODEC, place=place, state=f"damaged: {error}")
    kind = PUBLISHED_CODEC if codec.kind == "audioldm" else codec.kind
    return Weights(kind=kind, place=place, state="a codec", hash=hash_codec(codec), usable=True)


def _list_files(folder: Path) -> Iterator[Weights]:
    """Published files by their names; generic ones (model.pt) by their SHA-256 alone."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        candidates = [
            source for source in sources.SOURCES if source.kind and _has_name(source, path)
        ]
        if not candidates:
            continue
        digest = hash_file(path)
        for source in candidates:
            verified = source.sha256 is not None and digest.startswith(source.sha256)
            if source.sha256 is None or verified:
                state = "as published" if verified else "no published hash to compare with"
                yield Weights(
                    kind=source.kind, place=path, state=f"to be converted, {state}", hash=digest
                )


def _has_name(source: sources.Source, path: Path) -> bool:
    return path.name == PurePosixPath(source.file).name and file_size(path) > 0


def list_needs() -> dict[str, tuple[str, ...]]:
    """The kinds of published weights that each recipe and each score needs.

    Recipes that build a corpus of their own have encoders without published weights.
    """
    root = recipes.find_recipe_folder()
    names = (path.relative_to(root).with_suffix("") for path in sorted(root.rglob("*.py")))
    configs = {str(name): recipes.load_recipe(str(name)) for name in names}
    needs = {
        f"--config={name}": recipe_needs(config)
        for name, config in configs.items()
        if not config.data.corpus
    }
    return needs | SCORES


def recipe_needs(config) -> tuple[str, ...]:
    """The kinds of weights of the published features and of the codec of a recipe."""
    used = set(ROUTES[config.model.route].used) & set(published.KINDS)
    if config.dropout.video >= 1:
        used -= set(VIDEO)
    if tuple(config.data.tasks) == ("sound",):
        used -= set(SPEECH)
    codec = config.codec.name if config.codec.folder else PUBLISHED_CODEC
    return (*(kind for kind in published.KINDS if kind in used), codec)


def format_report(folder: str | Path) -> str:
    """The weights of a folder as lines, then what is complete, and what lacks which weights."""
    weights = list_weights(folder)
    lines = [f"{len(weights)} weights in {folder}"]
    lines += [f"  {w.kind:8} {w.place}: {w.state}{w.hash and f', {w.hash}'}" for w in weights]
    usable = {w.kind for w in weights if w.usable} | {
        path.parent.name for path in sources.BUNDLED.glob(f"*/{sources.DESCRIPTION}")
    }
    users: dict[tuple[str, ...], list[str]] = {}  # by what they lack
    for name, kinds in list_needs().items():
        users.setdefault(tuple(kind for kind in kinds if kind not in usable), []).append(name)
    for kinds, names in sorted(users.items()):
        begin = f"missing {', '.join(kinds)}" if kinds else "complete"
        lines.append(f"{begin}: {', '.join(names)}")
    if any(PUBLISHED_CODEC in kinds for kinds in users):
        lines.append(f"without {PUBLISHED_CODEC}, these recipes fit a codec on the shards")
    waiting = {w.kind: w.place for w in weights if w.hash and not w.usable}
    for kind in dict.fromkeys(kind for kinds in users for kind in kinds):
        source = sources.list_sources(kind)[0]
        origin = waiting.get(kind) or f"{source.file} from {source.where}"
        lines.append(f"{kind}: {origin}, by convert --kind={kind} --out={folder}/{kind} --src=…")
    return "\n".join(lines)
