"""Training steps of a small network on made-up batches, over any mesh of this process' devices.

python tests/helpers/train_steps.py     prints JSON: the losses of $STEPS steps by name of $CASES
"""

import contextlib
import json
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from flax.traverse_util import flatten_dict

from vssflow_jax.common.safetensors_io import write_arrays
from vssflow_jax.config import load_recipe
from vssflow_jax.data import pipeline
from vssflow_jax.models import vssflow
from vssflow_jax.training import checkpoint, flow_step, setup, sharding
from vssflow_jax.training.init_from import init_from_weights

SPEC = pipeline.BatchSpec.from_duration(1.0, {"clip": 10, "sync": 25, "lips": 25, "phonemes": 25})
CHANNELS, BATCH = 4, 16
# name: data, fsdp, tensor, parts of a batch
MESHES = {
    "one": (1, 1, 1, 1),
    "accumulated": (1, 1, 1, 4),
    "data": (8, 1, 1, 1),
    "fsdp": (1, 8, 1, 1),
    "tensor": (1, 1, 8, 1),
    "mixed": (2, 2, 2, 1),
    "mixed, accumulated": (2, 2, 2, 4),
}
TASKS = {}  # those of this process; see `make_task`


@struct.dataclass
class Slices:
    """A codec whose latent is a few samples of each frame."""

    scale: jax.Array
    channels: int = struct.field(pytree_node=False, default=CHANNELS)

    def encode(self, wave):
        """Mean and deviation [B, L, C]."""
        mean = self.scale * wave.reshape(len(wave), SPEC.latent_frames, -1)[..., :CHANNELS]
        return mean, jnp.full_like(mean, 0.1)


def small(**changes):
    """The recipe grid's config, small; `changes` by dotted name with two underscores for dots."""
    config = load_recipe("grid")
    config.model.update(layers=2, unroll=1, heads=8, kv_heads=4, head_dim=8)
    config.model.projected_widths.update(clip=8, speaker=8, phonemes=8, lips=8, sync=8)
    config.data.batch_size = BATCH
    config.optim.warmup_steps = 2
    config.train.steps = 10
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def batch(number, spoil=False):
    """A batch of clips of all lengths; with a NaN in it if `spoil`."""
    rng = np.random.default_rng(number)
    examples = []
    for row in range(BATCH):
        seconds = rng.uniform(0.3, 1.0)
        record = {
            "meta": {"id": f"clip{number}-{row}"},
            "wave": rng.integers(-20_000, 20_000, round(seconds * 16_000)).astype(np.int16),
            "clip": rng.standard_normal((10, 768)).astype(np.float16),
            "sync": rng.standard_normal((25, 768)).astype(np.float16),
            "lips": rng.standard_normal((25, 1024)).astype(np.float16),
            "speaker": rng.standard_normal(256).astype(np.float16),
            "phonemes": rng.integers(0, 71, 25).astype(np.int32),
        }
        if row % 3 == 0:
            del record["lips"]
        examples.append(pipeline.ToExample(SPEC)(record))
    stacked = pipeline.stack_examples(examples)
    if spoil:
        stacked["wave"][0, 0] = np.nan
    return stacked


def make_task(config, spec, codec, mesh):
    """The task of a config, made once: its programs are then traced and compiled once too.

    Of the group `train` a task reads three fields, and the number of steps where the learning rate
    falls to 0 with it.
    """
    key = config.to_dict()
    train = {name: key["train"][name] for name in ("task", "grad_accumulation", "init_from")}
    train["steps"] = 0 if config.optim.schedule == "constant" else config.train.steps
    key = json.dumps(key | {"train": train, "codec": codec.channels}), mesh
    if key not in TASKS:
        own_config = config.copy_and_resolve_references()
        TASKS[key] = setup.TASKS[config.train.task](own_config, spec, codec, mesh)
    return TASKS[key]


def start(config, mesh):
    """First state, compiled step, and what the step reads besides batches; as `loop.Run` has them.

    The step changes the state in place: the one that it was given is gone.
    """
    codec = jax.device_put(Slices(jnp.float32(3.0)), jax.NamedSharding(mesh, jax.P()))
    task = make_task(config, SPEC, codec, mesh)
    state, folder = task.init_state(), config.train.init_from
    state = init_from_weights(state, folder, "slices") if folder else state
    shardings = sharding.make_shardings(state, mesh), jax.NamedSharding(mesh, jax.P())
    advance = jax.jit(task.train_step, donate_argnums=0, out_shardings=shardings)
    return state, advance, codec if task.frozen is None else task.frozen


def one_device():
    """A mesh of one device."""
    return sharding.make_mesh(dict.fromkeys(sharding.AXES, 1), jax.devices()[:1])


def write_teacher(folder, config, seed=5):
    """Writes a flow model with random weights, as a conversion is written."""
    model = vssflow.build_model(config, CHANNELS)
    params = flow_step.make_init_state(model, config, SPEC, CHANNELS, one_device())().params
    rng, flat = np.random.default_rng(seed), flatten_dict(jax.device_get(params), sep="/")
    shaken = {k: x + 0.1 * rng.standard_normal(x.shape, np.float32) for k, x in flat.items()}
    write_arrays(folder / checkpoint.WEIGHTS_FILE, shaken)
    (folder / "config.json").write_text(config.to_json())


def losses(sizes, steps, **changes):
    """The losses of some steps on a mesh of the first devices."""
    *shape, parts = sizes
    config = small(train__grad_accumulation=parts, **changes)
    devices = jax.devices()[: int(np.prod(shape))]
    mesh = sharding.make_mesh(dict(zip(sharding.AXES, shape, strict=True)), devices)
    sharding.check_config(config, mesh)
    state, advance, codec = start(config, mesh)
    numbers = []
    for number in range(steps):
        placed = sharding.place_batch(batch(number), mesh)
        state, metrics = advance(state, codec, placed)
        numbers.append(float(metrics["loss"]))
    return numbers


if __name__ == "__main__":
    cases, steps = json.loads(os.environ["CASES"]), int(os.environ["STEPS"])
    with jax.default_matmul_precision("highest"), contextlib.closing(sys.stdout):
        by_case = {n: losses(MESHES[mesh], steps, **fields) for n, (mesh, fields) in cases.items()}
        print(json.dumps(by_case))
