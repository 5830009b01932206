"""The maps of names between the published encoders' state dicts and our parameters.

CLIP has two maps, OpenAI's and Hugging Face's. Sizes are read from the shapes of the tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from vssflow_jax.common.safetensors_io import ArrayLike, Lazy
from vssflow_jax.encoders.avhubert import AvhubertConfig
from vssflow_jax.encoders.clip import ClipViTConfig
from vssflow_jax.encoders.dvector import DvectorConfig
from vssflow_jax.encoders.rawnet3 import DILATIONS, Rawnet3Config
from vssflow_jax.encoders.synchformer import SynchformerConfig
from vssflow_jax.weights.mapping import (
    ParamEntry,
    batch_norm_entries,
    linear_entries,
    norm_entries,
)
from vssflow_jax.weights.transforms import (
    KERNEL,
    POINTWISE,
    ROW,
    reshaping,
    to_heads,
    to_heads_bias,
)

HEAD = 64  # channels of an attention head, in every published file


def attention_entries(
    official: str, ours: str, heads: int, names: Mapping[str, str]
) -> Iterator[ParamEntry]:
    """Query, key and value by the official names that hold `@` for weight and bias; output."""
    for part in PARTS:
        name, path = f"{official}.{names[part]}", f"{ours}/heads/{part}"
        yield ParamEntry(name.replace("@", "weight"), f"{path}/kernel", to_heads(heads))
        yield ParamEntry(name.replace("@", "bias"), f"{path}/bias", to_heads_bias(heads))
    yield from linear_entries(f"{official}.{names['out']}", f"{ours}/out")


# Names of queries, keys, values and output (@: weight or bias): separate tensors, or parts of one.
SEPARATE = {"query": "q_proj.@", "key": "k_proj.@", "value": "v_proj.@", "out": "out_proj"}
IN_PROJ = {
    "query": "in_proj_@[query]",
    "key": "in_proj_@[key]",
    "value": "in_proj_@[value]",
    "out": "out_proj",
}
QKV = {"query": "qkv.@[query]", "key": "qkv.@[key]", "value": "qkv.@[value]", "out": "proj"}
COMBINED = re.compile(r"(in_proj_(weight|bias)|qkv\.(weight|bias))$")
PARTS = ("query", "key", "value")


def split_qkv(state: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """A state dict with each combined tensor [3 D, ..] as three, `name[query]` and so on."""
    separate: dict[str, ArrayLike] = {}
    for name, array in state.items():
        if not COMBINED.search(name) or not array.shape or array.shape[0] % 3:
            separate[name] = array
            continue
        shape = (array.shape[0] // 3, *array.shape[1:])
        for i, part in enumerate(PARTS):
            separate[f"{name}[{part}]"] = Lazy(
                shape, str(array.dtype), lambda a=array, i=i: np.split(np.asarray(a), 3)[i]
            )
    return separate


def join_qkv(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `split_qkv`."""
    combined = {}
    for name, array in state.items():
        base, _, part = name.partition("[")
        if not part:
            combined[name] = array
        elif part == "query]":
            combined[base] = np.concatenate([state[f"{base}[{part}]"] for part in PARTS])
    return combined


def count_numbered(state: Mapping[str, ArrayLike], pattern: str) -> int:
    """One more than the largest number in the place of `#` in the names; 0 if no name fits."""
    numbered = re.compile(re.escape(pattern).replace(r"\#", r"(\d+)"))
    return max((int(match[1]) + 1 for match in map(numbered.match, state) if match), default=0)


# ---- CLIP ---------------------------------------------------------------------------------

OPENAI = {
    "token": "visual.class_embedding",
    "positions": "visual.positional_embedding",
    "patches": "visual.conv1.weight",
    "norm_in": "visual.ln_pre",
    "norm_out": "visual.ln_post",
    "layer": "visual.transformer.resblocks.{layer}",
    "attention": "attn",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "in": "mlp.c_fc",
    "out": "mlp.c_proj",
}
HUGGING_FACE = {
    "token": "vision_model.embeddings.class_embedding",
    "positions": "vision_model.embeddings.position_embedding.weight",
    "patches": "vision_model.embeddings.patch_embedding.weight",
    "norm_in": "vision_model.pre_layrnorm",
    "norm_out": "vision_model.post_layernorm",
    "layer": "vision_model.encoder.layers.{layer}",
    "attention": "self_attn",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "in": "mlp.fc1",
    "out": "mlp.fc2",
}


def clip_entries(config: ClipViTConfig, names: Mapping[str, str] = OPENAI) -> Iterator[ParamEntry]:
    """The map of CLIP's image encoder."""
    layer = names["layer"]
    attention = SEPARATE if names is HUGGING_FACE else IN_PROJ
    yield ParamEntry(names["token"], "class_token")
    yield ParamEntry(names["positions"], "positions")
    yield ParamEntry(names["patches"], "patches/kernel", KERNEL)
    for ours in ("norm_in", "norm_out"):
        yield from norm_entries(names[ours], ours)
    for ours in ("norm1", "norm2"):
        yield from norm_entries(f"{layer}.{names[ours]}", f"blocks/{ours}")
    yield from attention_entries(
        f"{layer}.{names['attention']}", "blocks/attention", config.heads, attention
    )
    for ours in ("in", "out"):
        yield from linear_entries(f"{layer}.{names[ours]}", f"blocks/feed_forward/{ours}")


def clip_config(state: Mapping[str, ArrayLike], names: Mapping[str, str] = OPENAI) -> ClipViTConfig:
    """The encoder's size, from its tensors."""
    width, _, patch, _ = state[names["patches"]].shape
    places = state[names["positions"]].shape[0] - 1
    return ClipViTConfig(
        side=round(places**0.5) * patch,
        patch=patch,
        width=width,
        layers=count_numbered(state, names["layer"].replace("{layer}", "#") + "."),
        heads=max(1, width // HEAD),
    )


# ---- Synchformer --------------------------------------------------------------------------

SYNC = "vfeat_extractor"


def sync_entries(config: SynchformerConfig) -> Iterator[ParamEntry]:
    """The map of Synchformer's visual encoder."""
    width, block, pool = config.width, f"{SYNC}.blocks.{{layer}}", f"{SYNC}.spatial_attn_agg"
    token = reshaping((1, 1, width), (width,))
    yield ParamEntry(f"{SYNC}.cls_token", "class_token", token)
    yield ParamEntry(f"{SYNC}.pos_embed", "positions", ROW)
    yield ParamEntry(f"{SYNC}.temp_embed", "moments", ROW)
    yield from linear_entries(f"{SYNC}.patch_embed_3d.proj", "patches")
    for official, ours in (("norm1", "space"), ("norm2", "forward"), ("norm3", "time")):
        yield from norm_entries(f"{block}.{official}", f"blocks/norm_{ours}")
    for official, ours in (("attn", "space"), ("timeattn", "time")):
        yield from attention_entries(f"{block}.{official}", f"blocks/{ours}", config.heads, QKV)
    for official, ours in (("fc1", "in"), ("fc2", "out")):
        yield from linear_entries(f"{block}.mlp.{official}", f"blocks/feed_forward/{ours}")
    yield from norm_entries(f"{SYNC}.norm", "norm_out")
    yield ParamEntry(f"{pool}.cls_token", "pool_token", token)
    yield from attention_entries(f"{pool}.self_attn", "pool/attention", config.heads, IN_PROJ)
    for official, ours in (("linear1", "in"), ("linear2", "out")):
        yield from linear_entries(f"{pool}.{official}", f"pool/feed_forward/{ours}")
    for name in ("norm1", "norm2"):
        yield from norm_entries(f"{pool}.{name}", f"pool/{name}")


def sync_config(state: Mapping[str, ArrayLike]) -> SynchformerConfig:
    """The encoder's size, from its tensors."""
    width, _, tube, patch, _ = state[f"{SYNC}.patch_embed_3d.proj.weight"].shape
    places = state[f"{SYNC}.pos_embed"].shape[1] - 1
    return SynchformerConfig(
        side=round(places**0.5) * patch,
        patch=patch,
        frames=state[f"{SYNC}.temp_embed"].shape[1] * tube,
        width=width,
        layers=count_numbered(state, f"{SYNC}.blocks.#."),
        heads=max(1, width // HEAD),
    )


# ---- AV-HuBERT ----------------------------------------------------------------------------


def resnet_entries(config: AvhubertConfig, official: str, ours: str) -> Iterator[ParamEntry]:
    """The map of the residual network under the two prefixes, which may be empty."""
    yield ParamEntry(f"{official}frontend3D.0.weight", f"{ours}stem/kernel", KERNEL)
    yield from batch_norm_entries(f"{official}frontend3D.1", f"{ours}stem_norm")
    if config.prelu:
        yield ParamEntry(f"{official}frontend3D.2.weight", f"{ours}stem_rectifier/slope")
    before = config.widths[0]
    for i, (width, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
        for j in range(count):
            theirs, mine = f"{official}trunk.layer{i + 1}.{j}", f"{ours}stage_{i}_{j}"
            for k in (1, 2):
                yield from linear_entries(
                    f"{theirs}.conv{k}", f"{mine}/conv{k}", KERNEL, bias=False
                )
                yield from batch_norm_entries(f"{theirs}.bn{k}", f"{mine}/conv{k}_norm")
                if config.prelu:
                    yield ParamEntry(f"{theirs}.relu{k}.weight", f"{mine}/rectifier{k}/slope")
            if j == 0 and (i > 0 or before != width):
                yield from linear_entries(
                    f"{theirs}.downsample.0", f"{mine}/shortcut", KERNEL, bias=False
                )
                yield from batch_norm_entries(f"{theirs}.downsample.1", f"{mine}/shortcut_norm")


def lip_transformer_entries(config: AvhubertConfig, ours: str) -> Iterator[ParamEntry]:
    """The map of the transformer, its positions' weight norm not folded."""
    position, layer = "encoder.pos_conv.0", "encoder.layers.{layer}"
    yield from linear_entries("feature_extractor_video.proj", f"{ours}video")
    yield from norm_entries("layer_norm", f"{ours}fused_norm")
    yield from linear_entries("post_extract_proj", f"{ours}fused")
    gain = reshaping((1, 1, config.reach), (config.reach,))
    yield ParamEntry(f"{position}.weight_g", f"{ours}position/gain", gain)
    yield ParamEntry(f"{position}.weight_v", f"{ours}position/direction", KERNEL)
    yield ParamEntry(f"{position}.bias", f"{ours}position/bias")
    yield from attention_entries(
        f"{layer}.self_attn", f"{ours}blocks/attention", config.heads, SEPARATE
    )
    yield from norm_entries(f"{layer}.self_attn_layer_norm", f"{ours}blocks/norm1")
    yield from norm_entries(f"{layer}.final_layer_norm", f"{ours}blocks/norm2")
    for official, mine in (("fc1", "in"), ("fc2", "out")):
        yield from linear_entries(f"{layer}.{official}", f"{ours}blocks/feed_forward/{mine}")
    yield from norm_entries("encoder.layer_norm", f"{ours}norm_out")


def lips_entries(config: AvhubertConfig) -> Iterator[ParamEntry]:
    """The map of AV-HuBERT's video branch."""
    yield from resnet_entries(config, "feature_extractor_video.resnet.", "resnet/")
    yield from lip_transformer_entries(config, "transformer/")


def resnet_sizes(state: Mapping[str, ArrayLike], official: str) -> dict:
    """The residual network's part of the config, from its tensors under a prefix."""
    stages = range(1, count_numbered(state, f"{official}trunk.layer#."))
    return {
        "widths": tuple(state[f"{official}trunk.layer{i}.0.conv1.weight"].shape[0] for i in stages),
        "blocks": tuple(count_numbered(state, f"{official}trunk.layer{i}.#.") for i in stages),
        "prelu": f"{official}frontend3D.2.weight" in state,
    }


def lip_transformer_sizes(state: Mapping[str, ArrayLike]) -> dict:
    """The transformer's part of the config, from its tensors."""
    width, part, reach = state["encoder.pos_conv.0.weight_v"].shape
    return {
        "width": width,
        "hidden": state["encoder.layers.0.fc1.weight"].shape[0],
        "layers": count_numbered(state, "encoder.layers.#."),
        "heads": max(1, width // HEAD),
        "reach": reach,
        "groups": width // part,
    }


def lips_config(state: Mapping[str, ArrayLike]) -> AvhubertConfig:
    """The encoder's size, from its tensors."""
    sizes = resnet_sizes(state, "feature_extractor_video.resnet.")
    return AvhubertConfig(**sizes, **lip_transformer_sizes(state))


# ---- RawNet3 ------------------------------------------------------------------------------


def speaker_entries(config: Rawnet3Config) -> Iterator[ParamEntry]:
    """The map of RawNet3."""
    bank, half, taps = "conv1.filterbank", config.filters // 2, config.taps // 2
    yield ParamEntry("preprocess.0.flipped_filter", "emphasis", reshaping((1, 1, 2), (2,)))
    yield ParamEntry("preprocess.1.weight", "scale")
    yield ParamEntry("preprocess.1.bias", "bias")
    for official, ours in (("low_hz_", "low"), ("band_hz_", "band")):
        yield ParamEntry(f"{bank}.{official}", f"sinc/bank/{ours}", reshaping((half, 1), (half,)))
    yield ParamEntry(f"{bank}.window_", "sinc/bank/window")
    yield ParamEntry(f"{bank}.n_", "sinc/bank/time", reshaping((1, taps), (taps,)))
    before = config.filters
    for i in range(len(DILATIONS)):
        theirs, ours = f"layer{i + 1}", f"block_{i}"
        for k, name in ((1, "in"), (3, "out")):
            yield from linear_entries(f"{theirs}.conv{k}", f"{ours}/{name}", POINTWISE)
            yield from batch_norm_entries(f"{theirs}.bn{k}", f"{ours}/norm_{name}")
        for k in range(config.slices - 1):
            yield from linear_entries(f"{theirs}.convs.{k}", f"{ours}/conv_{k}")
            yield from batch_norm_entries(f"{theirs}.bns.{k}", f"{ours}/norm_{k}")
        if before != config.channels:
            yield from linear_entries(
                f"{theirs}.residual.0", f"{ours}/shortcut", POINTWISE, bias=False
            )
        before = config.channels
        offset = reshaping((config.channels, 1), (config.channels,))
        yield ParamEntry(f"{theirs}.afms.alpha", f"{ours}/offset", offset)
        yield from linear_entries(f"{theirs}.afms.fc", f"{ours}/gate")
    yield from linear_entries("layer4", "join", POINTWISE)
    yield from linear_entries("attention.0", "attend_in", POINTWISE)
    yield from batch_norm_entries("attention.2", "attend_norm")
    yield from linear_entries("attention.3", "attend_out", POINTWISE)
    yield from batch_norm_entries("bn5", "norm_out")
    yield from linear_entries("fc6", "out")


def speaker_config(state: Mapping[str, ArrayLike]) -> Rawnet3Config:
    """The network's size, from its tensors; the stride is the published one."""
    return Rawnet3Config(
        filters=2 * state["conv1.filterbank.low_hz_"].shape[0],
        taps=2 * state["conv1.filterbank.window_"].shape[0] + 1,
        channels=state["layer1.conv1.weight"].shape[0],
        slices=count_numbered(state, "layer1.convs.#.") + 1,
        pooled=state["layer4.weight"].shape[0],
        attention=state["attention.0.weight"].shape[0],
        width=state["fc6.weight"].shape[0],
    )


# ---- d-vector -----------------------------------------------------------------------------


def dvector_entries(config: DvectorConfig) -> Iterator[ParamEntry]:
    """The map of Resemblyzer's network."""
    for layer in range(config.layers):
        theirs, ours = f"lstm.{{}}_l{layer}", f"layer_{layer}"
        yield ParamEntry(theirs.format("weight_ih"), f"{ours}/input/kernel", KERNEL)
        yield ParamEntry(theirs.format("bias_ih"), f"{ours}/input/bias")
        yield ParamEntry(theirs.format("weight_hh"), f"{ours}/recurrent_kernel", KERNEL)
        yield ParamEntry(theirs.format("bias_hh"), f"{ours}/recurrent_bias")
    yield from linear_entries("linear", "out")


def dvector_config(state: Mapping[str, ArrayLike]) -> DvectorConfig:
    """The network's size, from its tensors."""
    gates, bands = state["lstm.weight_ih_l0"].shape
    return DvectorConfig(
        bands=bands,
        hidden=gates // 4,
        layers=count_numbered(state, "lstm.bias_hh_l#"),
        width=state["linear.weight"].shape[0],
    )
