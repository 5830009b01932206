"""Official state dicts of the parity fixtures, and ways to damage them."""

import json
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from helpers.paths import GOLDEN
from vssflow_jax.config import load_recipe
from vssflow_jax.models import vssflow
from vssflow_jax.weights import network

ROUTES = {
    "vssflow_step": "joint",
    "routing_none": "none",
    "routing_lip_synch": "lip_sync",
    "routing_video_text": "video_text",
    "routing_lip_synch_video_text": "all_concat",
}
SIZES = {  # our fields of a fixture's sizes
    "codec.channels": "original_channel",
    "model.layers": "num_layers",
    "model.heads": "heads",
    "model.kv_heads": "kv_heads",
    "model.head_dim": "head_dim",
    "model.time_features": "time_proj_dim",
    "model.projected_widths.clip": "cond_feat_dim",
    "model.projected_widths.speaker": "cond_feat_dim",
    "model.projected_widths.phonemes": "phone_ebd_dim",
    "model.projected_widths.lips": "lip_feat_dim",
    "model.projected_widths.sync": "synch_feat_dim",
}


def fixture_fields(fixture="vssflow_step") -> dict:
    """Config fields of a fixture's model."""
    sizes = json.loads((GOLDEN / f"{fixture}.json").read_text())["config"]
    return {"model.route": ROUTES[fixture], **{ours: sizes[name] for ours, name in SIZES.items()}}


def load_fixture_recipe(fixture="vssflow_step"):
    config = load_recipe("joint")
    config.update_from_flattened_dict(fixture_fields(fixture))
    return config


def build_model(fixture="vssflow_step"):
    return vssflow.build_model(
        load_fixture_recipe(fixture), fixture_fields(fixture)["codec.channels"]
    )


def load_official(fixture="vssflow_step") -> dict[str, np.ndarray]:
    """The fixture's official state dict."""
    tensors = load_file(GOLDEN / f"{fixture}.safetensors")
    return {k.removeprefix("param."): v for k, v in tensors.items() if k.startswith("param.")}


def assert_same(actual, expected):
    """The same names, and the same bits behind each."""
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype and actual[name].shape == array.shape
        assert actual[name].tobytes() == np.ascontiguousarray(array).tobytes(), name


def convert_state(folder, state, fixture="vssflow_step") -> Path:
    """Converts a state dict in this process; returns the folder."""
    save_file(state, folder / "official.safetensors")
    network.convert(folder / "official.safetensors", folder / "ours", load_fixture_recipe(fixture))
    return folder / "ours"


QUERY = "vaflow.transformer_blocks.1.attn2.to_k.weight"  # [16, 12], so that turning it shows


def remove_tensor(state):
    del state[QUERY]


def rename_tensor(state):
    state[QUERY + "s"] = state.pop(QUERY)


def transpose_tensor(state):
    state[QUERY] = np.ascontiguousarray(state[QUERY].T)


def halve_precision(state):
    state[QUERY] = state[QUERY].astype(np.float16)


def insert_nan(state):
    state[QUERY][3, 4] = np.nan


def insert_infinity(state):
    state[QUERY][0, 0] = -np.inf


class Trap:
    """Pickled, a call that leaves a file behind."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)
