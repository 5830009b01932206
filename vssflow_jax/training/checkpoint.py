"""Checkpoints: state, data position, and the hashes of what they belong to, together.

Orbax writes a step's folder under a temporary name and renames it when whole, so a run
that dies while saving goes on from the step before.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict

from vssflow_jax import bundled
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import hash_file
from vssflow_jax.common.safetensors_io import read_arrays
from vssflow_jax.config import fields, migration
from vssflow_jax.training.state import TrainState

FOLDER = "checkpoints"
WEIGHTS_FILE = "weights.safetensors"  # in the folder of a conversion or export: its weights
EXPORT_FILE = "export.json"  # in the folder of an export: step and hashes


class Checkpoints:
    """The checkpoints of a run's folder.

    Of several processes, all together write them; each that only reads does so by itself.

    Args:
      workdir: the run's folder.
      keep: newest checkpoints to keep; None: all.
      writes: this is the run itself, which clears away what an earlier start left half written.

    Attributes:
      best: [validation loss, step] of the checkpoint that is kept besides, or None.
    """

    def __init__(self, workdir: str | Path, keep: int | None = None, writes: bool = False):
        self.folder = Path(workdir).resolve() / FOLDER
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
        """Orbax's question which of the checkpoints, oldest first, stay."""
        keep = len(checkpoints) if self._keep is None else self._keep
        best = self.best and self.best[1]
        return [
            place >= len(checkpoints) - keep or info.step == best
            for place, info in enumerate(checkpoints)
        ]

    def save(self, step: int, state: TrainState, position: dict, identity: dict) -> None:
        """Saves a step in the background: state, data position, hashes and config.

        The weights that sampling takes are an item of their own, which it reads alone. A disk
        without room for them raises OSError here, before anything is written; what goes wrong
        later is raised by the next save, by `wait` or by `close`. Until a save is whole, the
        one before it stays.
        """
        self.wait()  # for its room, and for what went wrong
        rest, weights = state.replace(ema=None), state.weights
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves((rest, weights)))
        if shutil.disk_usage(self.folder.parent).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(rest),
            weights=ocp.args.PyTreeSave(weights),
            position=ocp.args.JsonSave(position),
            identity=ocp.args.JsonSave(identity),
        )
        self._manager.save(step, args=items)

    def latest(self) -> int | None:
        """Newest whole step, or None."""
        return self._manager.latest_step()

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, dict]:
        """State and data position of a step; `like` gives shapes and shardings."""
        items = {
            "state": _restore_args(like.replace(ema=None)),
            "position": ocp.args.JsonRestore(),
        }
        if like.ema is not None:
            items["weights"] = _restore_args(like.ema)
        found = self._manager.restore(step, args=ocp.args.Composite(**items))
        return found.state.replace(ema=found.get("weights")), found.position

    def weights(self, step: int):
        """What sampling takes of a step, on one device, whatever mesh it was saved from."""
        place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        found = ocp.StandardCheckpointHandler().metadata(self.folder / str(step) / "weights")
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), found.tree
        )
        items = ocp.args.Composite(weights=_restore_args(like))
        return self._manager.restore(step, args=items).weights

    def identity(self, step: int) -> dict:
        """What a step was made with: hashes and config."""
        items = ocp.args.Composite(identity=ocp.args.JsonRestore())
        identity = self._manager.restore(step, args=items).identity
        return {**identity, "model": migration.migrate_model(identity.get("model", {}))}

    def wait(self) -> None:
        """Returns when every save is whole; raises what went wrong in the background."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and lets go of the folder."""
        try:
            self.wait()
        finally:
            self._manager.close()

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """A block after which every save is whole.

        If it raises, a save that is under way is still ended, as far as that goes; among several
        processes it is not, since the others may be lost.
        """
        try:
            yield
        except Exception:
            if jax.process_count() == 1:
                with contextlib.suppress(Exception):  # the first error is the one to report
                    self.close()
            raise
        self.close()


def _make_handlers(processes: ocp.options.MultiprocessingOptions) -> dict:
    """What reads and writes each item of a checkpoint.

    Arrays are not compressed: zstd makes them a twelfth smaller, in four times the time.
    """
    arrays = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=processes)
    facts = ocp.JsonCheckpointHandler(multiprocessing_options=processes)
    return {"state": arrays, "weights": arrays, "position": facts, "identity": facts}


def _restore_args(like) -> ocp.args.PyTreeRestore:
    """Arrays of these shapes and shardings."""
    return ocp.args.PyTreeRestore(like, ocp.checkpoint_utils.construct_restore_args(like))


def _single_process() -> ocp.options.MultiprocessingOptions:
    """For a process that does without the others."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    this = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process{this}"
    )


def open_newest(workdir: str | Path) -> tuple[Checkpoints, int]:
    """The run's checkpoints and the newest step.

    Raises:
      InputError: the folder holds no whole checkpoint.
    """
    folder = Path(workdir) / FOLDER
    if not Path(workdir).is_dir():
        found = "a file" if Path(workdir).exists() else "no such folder"
        raise InputError(f"--workdir={workdir}: {found}, expected a run's folder")
    if not folder.is_dir():
        raise InputError(f"--workdir={workdir}: no checkpoints/ in it, expected a trained run")
    checkpoints = Checkpoints(workdir)
    step = checkpoints.latest()
    if step is None:
        raise InputError(f"{folder}: no whole checkpoint in it")
    return checkpoints, step


def load_weights(workdir: str | Path, step: int | None = None) -> tuple[dict, int, dict]:
    """Weights to sample with or to start from.

    Args:
      workdir: the folder of a run, whose averaged weights are taken, of a conversion or of an
        export, or the name of a model that comes with the package.
      step: of the run; None: the newest. Conversions and exports have one alone.

    Returns:
      Parameters, their step, and what they were made with: for a conversion nothing.

    Raises:
      InputError: there is none, or the file is damaged.
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
    step = step or newest
    found = checkpoints.weights(step), step, checkpoints.identity(step)
    checkpoints.close()
    return found


def read_export(workdir: Path) -> dict:
    """What an export says of its weights, whose hash must be right; of a conversion nothing.

    Raises:
      InputError: not such a file, or weights other than it says.
    """
    path = workdir / EXPORT_FILE
    if not path.is_file():
        return {}
    try:
        facts = dict(json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: not the facts of an export: {error}") from None
    found = hash_file(workdir / WEIGHTS_FILE)
    if found != facts.get("weights"):
        raise InputError(
            f"{workdir / WEIGHTS_FILE}: found SHA-256 {found}, expected {facts.get('weights')} as "
            f"{EXPORT_FILE} says"
        )
    return facts


def check_no_conversion(workdir: str | Path) -> None:
    """Raises an `InputError` if the folder is a conversion's, which training would not start from.

    Nor would sampling take the new weights while the converted ones are there.
    """
    if (Path(workdir) / WEIGHTS_FILE).exists():
        raise InputError(
            f"--workdir={workdir}: found converted weights, expected a folder for the run alone; "
            f"start from them with --config.train.init_from={workdir}"
        )


def read_config(workdir: str | Path) -> ConfigDict:
    """The config of a run of any age; see `migration.parse_config`.

    Raises:
      InputError: no config there, or not a run's.
    """
    path = bundled.find_workdir(workdir) / "config.json"
    try:
        return migration.parse_config(dict(json.loads(path.read_text())), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a run's config") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: not a run's config: {error}") from None


def check_identity(found: dict, expected: dict, where: str) -> None:
    """Compares what a checkpoint was made with to what is at hand, key by key.

    Config fields that are newer than the checkpoint had the base's value then.

    Raises:
      InputError: names the first key that differs, and both sides; of a group of fields those
        that differ.
    """
    defaults = json.loads(fields.default_config().to_json())
    for key, value in expected.items():
        before, value = json.loads(json.dumps([found.get(key), value]))
        if isinstance(before, dict):
            before = {name: before.get(name, defaults[key].get(name)) for name in value}
            changed = [name for name in value if before[name] != value[name]]
            before, value = ({name: side[name] for name in changed} for side in (before, value))
        if before != value:
            raise InputError(f"{where}: {key} was {before} when it was saved, and is {value} now")


def abstract_arrays(tree, shardings):
    """Abstract arrays with shardings, to restore onto any mesh."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )
