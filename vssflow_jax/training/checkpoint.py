"""Checkpoints: state, data position, and what they were made with, together.

Orbax writes a step's folder under a temporary name and renames it when it is complete, so a run
that dies while saving resumes from the step before.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from vssflow_jax import bundled
from vssflow_jax.common.errors import InputError, one_line
from vssflow_jax.common.files import free_bytes, hash_file, read_json, resolve, to_path
from vssflow_jax.common.safetensors_io import read_arrays
from vssflow_jax.config import fields, migration, validation
from vssflow_jax.models import duration_model
from vssflow_jax.training.run_paths import find_shards
from vssflow_jax.training.state import TrainState

FOLDER = "checkpoints"
WEIGHTS_FILE = "weights.safetensors"  # in the folder of a conversion or export: its weights
EXPORT_FILE = "export.json"  # in the folder of an export: step and hashes


class Checkpoints:
    """The checkpoints of a run's folder.

    Several processes write a checkpoint together; a process that only reads does so by itself.

    Args:
      workdir: the run's folder.
      keep: newest checkpoints to keep; None: all.
      writes: this is the run itself, which removes what an earlier start left incomplete.

    Attributes:
      best: [validation loss, step] of the checkpoint that is kept as well, or None.
    """

    def __init__(self, workdir: str | Path, keep: int | None = None, writes: bool = False):
        self.folder = resolve(workdir) / FOLDER
        self.best: list | None = None
        self._keep = keep
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self,
            create=False,
            cleanup_tmp_directories=writes,
            multiprocessing_options=ocp.options.MultiprocessingOptions()
            if writes
            else _single_process(),
        )
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=options,
            item_handlers=_make_handlers(options.multiprocessing_options),
        )

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        """Tells Orbax which of the checkpoints, oldest first, to keep."""
        keep = len(checkpoints) if self._keep is None else self._keep
        best = self.best and self.best[1]
        return [
            place >= len(checkpoints) - keep or info.step == best
            for place, info in enumerate(checkpoints)
        ]

    def save(self, step: int, state: TrainState, position: dict, identity: dict) -> None:
        """Saves a step in the background: state, data position, hashes and config.

        The weights to sample with are an item of their own, which sampling reads alone: the
        averages, or the parameters if none are averaged. A disk without room for a checkpoint
        raises OSError here, before anything is written; later errors are raised by the next
        save, by `wait` or by `close`. Until a save is complete, the one before it stays.
        """
        self.wait()  # for its room, and for its errors
        rest, weights = state.replace(**{_weights_field(state): None}), state.weights
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves((rest, weights)))
        if free_bytes(self.folder.parent) < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(rest),
            weights=ocp.args.PyTreeSave(weights),
            position=ocp.args.JsonSave(position),
            identity=ocp.args.JsonSave(identity),
        )
        self._manager.save(step, args=items)

    def latest_step(self) -> int | None:
        """The newest complete step, or None."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """All complete steps."""
        return sorted(self._manager.all_steps())

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, dict]:
        """State and data position of a step; `like` gives shapes and shardings."""
        field, saved = _weights_field(like), self._read_metadata(step, "state")
        items = {"position": ocp.args.JsonRestore()}
        # Older checkpoints without averages have the parameters in their state, too.
        in_state = saved.get(field) is not None
        if not in_state:
            items["weights"] = _restore_args(like.weights)
        rest = like if in_state else like.replace(**{field: None})
        leaves, saved_names = _flatten(rest), _flatten(saved).keys()
        sources = {name: _find_saved(name, saved_names) for name in leaves}
        wanted = {sources[name]: leaf for name, leaf in leaves.items()}
        items["state"] = _restore_args(
            jax.tree_util.tree_map_with_path(lambda path, _: wanted[_name(path)], saved)
        )
        restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        arrays = _flatten(restored.state)
        state = jax.tree_util.tree_map_with_path(
            lambda path, leaf: arrays[sources[_name(path)]], rest
        )
        return state if in_state else state.replace(**{field: restored.weights}), restored.position

    def restore_weights(self, step: int):
        """The weights to sample with, on one device, whatever mesh they were saved from."""
        place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            self._read_metadata(step, "weights"),
        )
        items = ocp.args.Composite(weights=_restore_args(like))
        return self._manager.restore(step, args=items).weights

    def _read_metadata(self, step: int, item: str):
        """The tree of an item's arrays, as it was saved: shapes and types."""
        return ocp.StandardCheckpointHandler().metadata(self.folder / str(step) / item).tree

    def read_identity(self, step: int) -> dict:
        """What a step was made with: hashes of codec and data set, and the config's fixed fields.

        Older checkpoints have only some of the fields; the run's config.json has them all.
        """
        items = ocp.args.Composite(identity=ocp.args.JsonRestore())
        identity = self._manager.restore(step, args=items).identity
        workdir = self.folder.parent
        if "config" not in identity and (workdir / bundled.CONFIG).is_file():
            identity["config"] = fields.fixed_fields(read_config(workdir))
        return identity

    def wait(self) -> None:
        """Returns when every save is complete; raises errors from the background."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and closes Orbax's manager."""
        try:
            self.wait()
        finally:
            self._manager.close()

    @contextlib.contextmanager
    def completing_saves(self) -> Iterator[None]:
        """A block after which every save is complete.

        If it raises, a save in progress is completed if possible; but not among several
        processes, since the others may be lost.
        """
        try:
            yield
        except Exception:
            if jax.process_count() == 1:
                with contextlib.suppress(Exception):  # the first error is the one to report
                    self.close()
            raise
        self.close()


def _weights_field(state: TrainState) -> str:
    """The field of a state that a checkpoint keeps as its item `weights`."""
    return "params" if state.ema is None else "ema"


def _name(path) -> str:
    """A path in a tree as `a/b/0`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _flatten(tree) -> dict[str, Any]:
    """The leaves of a tree by their paths."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _find_saved(name: str, saved_names: Collection[str]) -> str:
    """The name that an array of a state has in a checkpoint of any age.

    In older ones the optimizer's state is {"main": …, "durations": …}, or that of `main` alone
    if there is no duration model, and not `optax.partition`'s, where each part has the paths of
    all parameters.
    """
    optimizer = re.match(r"opt_state/inner_states/(\w+)/inner_state/", name)
    if name in saved_names or not optimizer:
        return name
    rest = name[optimizer.end() :]
    if optimizer[1] == duration_model.PARAMS_KEY:
        rest = rest.replace(f"/{duration_model.PARAMS_KEY}/", "/")
    older = f"opt_state/{optimizer[1]}/{rest}"
    return older if older in saved_names else f"opt_state/{rest}"


def _make_handlers(processes: ocp.options.MultiprocessingOptions) -> dict:
    """The readers and writers of a checkpoint's items.

    Arrays are not compressed: zstd makes them a twelfth smaller, in four times the time.
    """
    arrays = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=processes)
    facts = ocp.JsonCheckpointHandler(multiprocessing_options=processes)
    return {"state": arrays, "weights": arrays, "position": facts, "identity": facts}


def _restore_args(like) -> ocp.args.PyTreeRestore:
    """Orbax's arguments to restore arrays of these shapes and shardings."""
    return ocp.args.PyTreeRestore(like, ocp.checkpoint_utils.construct_restore_args(like))


def _single_process() -> ocp.options.MultiprocessingOptions:
    """Orbax's options for a process that reads by itself."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    this = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process{this}"
    )


def has_steps(workdir: str | Path) -> bool:
    """Whether the run's folder holds a complete checkpoint; a look at the names alone."""
    folder = to_path(workdir) / FOLDER
    return folder.is_dir() and any(path.name.isdecimal() for path in folder.iterdir())


@contextlib.contextmanager
def refusing_damage(location: str) -> Iterator[None]:
    """A block that reads a checkpoint: what fails is an InputError, `location` its first words.

    Orbax raises errors of many types for files that are missing or damaged.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"{location}: damaged or incomplete ({one_line(error)[:200]}), expected a checkpoint; "
            "without its folder the one before it is used"
        ) from error


def open_newest(workdir: str | Path) -> tuple[Checkpoints, int]:
    """The run's checkpoints and the newest step.

    Raises:
      InputError: the folder holds no complete checkpoint.
    """
    folder = to_path(workdir) / FOLDER
    if not folder.parent.is_dir():
        problem = "a file" if folder.parent.exists() else "no such folder"
        raise InputError(f"--workdir={workdir}: {problem}, expected a run's folder")
    if not folder.is_dir():
        raise InputError(f"--workdir={workdir}: no checkpoints/ in it, expected a trained run")
    checkpoints = Checkpoints(workdir)
    step = checkpoints.latest_step()
    if step is None:
        raise InputError(f"{folder}: no complete checkpoint in it")
    return checkpoints, step


def load_weights(workdir: str | Path, step: int | None = None) -> tuple[dict, int, dict]:
    """Weights to sample with or to start from.

    Args:
      workdir: the folder of a run, whose averaged weights are taken, of a conversion or of an
        export, or the name of a bundled model.
      step: of the run; None: the newest. Conversions and exports have only one.

    Returns:
      Parameters, their step, and what they were made with; for a conversion, nothing.

    Raises:
      InputError: no weights there, or the file is damaged.
    """
    workdir = bundled.find_workdir(workdir)
    file = workdir / WEIGHTS_FILE
    if file.is_file():
        facts = read_export(workdir)
        arrays = {path: np.asarray(array) for path, array in read_arrays(file).items()}
        params = unflatten_dict(
            {path: array.astype(np.float32) for path, array in arrays.items()}, sep="/"
        )
        return params, facts.pop("step", 0), facts
    checkpoints, newest = open_newest(workdir)
    if step is None:
        step = newest
    elif step not in checkpoints.steps():
        raise InputError(
            f"{workdir}: found no checkpoint {step}, expected one of {checkpoints.steps()}"
        )
    with refusing_damage(f"{workdir}: checkpoint {step}"):
        weights, identity = checkpoints.restore_weights(step), checkpoints.read_identity(step)
    checkpoints.close()
    return weights, step, identity


def read_export(workdir: Path) -> dict:
    """The facts in an export's export.json, which match its weights; none for a conversion.

    Raises:
      InputError: the file is damaged, or the weights have another hash.
    """
    path = workdir / EXPORT_FILE
    if not path.is_file():
        return {}
    facts = read_json(path, "the facts of an export")
    sha256 = hash_file(workdir / WEIGHTS_FILE)
    if sha256 != facts.get("weights"):
        raise InputError(
            f"{workdir / WEIGHTS_FILE}: found SHA-256 {sha256}, expected {facts.get('weights')} as "
            f"{EXPORT_FILE} says"
        )
    return facts


def check_no_conversion(workdir: str | Path) -> None:
    """Raises an `InputError` if the folder is that of a conversion.

    Training would not start from its weights, and sampling would prefer them to the trained ones.
    """
    if (to_path(workdir) / WEIGHTS_FILE).exists():
        raise InputError(
            f"--workdir={workdir}: found converted weights, expected a folder for the run alone; "
            f"start from them with --config.train.init_from={workdir}"
        )


def read_config(workdir: str | Path) -> ConfigDict:
    """The config of a run of any age; see `migration.parse_config`.

    Its `data.shards` is where the shards are now, also if the run has moved.

    Raises:
      InputError: no config there, or not a run's.
    """
    path = bundled.find_workdir(workdir) / bundled.CONFIG
    config = migration.parse_config(read_json(path, "a run's config"), str(path))
    validation.check(config, str(path))
    with config.unlocked():
        config.data.shards = find_shards(path.parent, config.data.shards)
    return config


def hash_params(params: Mapping) -> str:
    """A hash of parameters' names and values."""
    digest = hashlib.sha256()
    for name, array in sorted(flatten_dict(params, sep="/").items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()[:16]


def check_identity(saved: Mapping, expected: Mapping, where: str) -> None:
    """Compares what a checkpoint was made with to what it is to be used with.

    Args:
      saved: of the checkpoint: `codec` and `dataset`, hashes; `config`, fields by dotted names.
        Fields that are newer than the checkpoint had their default then.
      expected: some of the same keys.
      where: the checkpoint, for messages.

    Raises:
      InputError: names what differs, with both values.
    """
    before, now = _identity_values(saved), _identity_values(expected)
    defaults = fields.fixed_fields(fields.default_config())
    differences = [
        f"{name}: found {value!r}, expected {before.get(name, defaults.get(name))!r}"
        for name, value in now.items()
        if value != before.get(name, defaults.get(name))
    ]
    if differences:
        raise InputError(f"{where}: {'; '.join(differences)}, with which it was saved")


def check_run(identity: Mapping, config, codec: str, where: str) -> None:
    """Raises an `InputError` for weights of another codec or network than a run's files have.

    Args:
      identity: of the checkpoint; of a conversion nothing, of an export no fields.
      config: of the run.
      codec: the hash of its codec.
      where: the checkpoint, for messages.
    """
    if not identity:  # published weights do not say what codec is theirs
        return
    saved, now = identity.get("config", {}), fields.fixed_fields(config)
    network = {name: now[name] for name in now if name.startswith("model.") and name in saved}
    check_identity(identity, {"codec": codec, "config": network}, where)


def _identity_values(identity: Mapping) -> dict:
    """Hashes and fields by name, as JSON gives them back."""
    values = {name: value for name, value in identity.items() if name != "config"}
    return json.loads(json.dumps(values | dict(identity.get("config", {}))))


def abstract_arrays(tree, shardings):
    """Abstract arrays with shardings, to restore onto any mesh."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )
