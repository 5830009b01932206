"""The maps of names of the networks that scores need: DeSync, PaSST, CLAP and SyncNet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from vssflow_jax.common.safetensors_io import ArrayLike
from vssflow_jax.encoders.clap import ClapConfig
from vssflow_jax.encoders.desync import DesyncConfig
from vssflow_jax.encoders.passt import PasstConfig
from vssflow_jax.encoders.syncnet import SyncnetConfig
from vssflow_jax.weights.encoder_names import (
    HEAD,
    IN_PROJ,
    QKV,
    attention_entries,
    count_numbered,
    sync_config,
    sync_entries,
)
from vssflow_jax.weights.mapping import (
    ParamEntry,
    batch_norm_entries,
    linear_entries,
    norm_entries,
)
from vssflow_jax.weights.transforms import KERNEL, ROW, rearranging, reshaping

SPLIT = {"query": "query.@", "key": "key.@", "value": "value.@"}  # queries, keys and values


def _stack(entries: Iterable[ParamEntry], count: int) -> Iterator[ParamEntry]:
    """The rows of a stack of `count` layers."""
    for entry in entries:
        yield dataclasses.replace(entry, count=count)


def _bert_layer(
    official: str, ours: str, heads: int, inner: str, norms: Mapping[str, str]
) -> Iterator[ParamEntry]:
    """A layer with BERT's names; `inner`: where queries are; `norms`: ours by the official ones."""
    names = {part: f"attention.{inner}.{name}" for part, name in SPLIT.items()}
    names["out"] = "attention.output.dense"
    yield from attention_entries(official, f"{ours}/attention", heads, names)
    for theirs, mine in norms.items():
        yield from norm_entries(f"{official}.{theirs}", f"{ours}/{mine}")
    for theirs, mine in (("intermediate", "in"), ("output", "out")):
        yield from linear_entries(f"{official}.{theirs}.dense", f"{ours}/feed_forward/{mine}")


# ---- Synchformer as a whole ---------------------------------------------------------------

AST, POOL, HEAD_MODEL = "afeat_extractor.ast", "afeat_extractor.freq_attn_agg", "transformer"
AUDIO_BANDS = 12  # patches of the audio encoder along the frequencies
HEAD_WIDTH = 96  # channels of a head of the transformer over both
PRE_NORMS = {"layernorm_before": "norm1", "layernorm_after": "norm2"}


def desync_entries(config: DesyncConfig) -> Iterator[ParamEntry]:
    """The map of the whole Synchformer."""
    width = config.width
    token = reshaping((1, 1, width), (width,))
    for entry in sync_entries(config):
        yield dataclasses.replace(entry, path=f"video/{entry.path}")
    embeddings = f"{AST}.embeddings"
    yield ParamEntry(f"{embeddings}.cls_token", "audio/class_token", token)
    yield ParamEntry(f"{embeddings}.distillation_token", "audio/distill_token", token)
    yield ParamEntry(f"{embeddings}.position_embeddings", "audio/positions", ROW)
    yield from linear_entries(f"{embeddings}.patch_embeddings.projection", "audio/patches")
    layer = f"{AST}.encoder.layer.{{layer}}"
    rows = _bert_layer(layer, "audio/blocks", config.audio_heads, "attention", PRE_NORMS)
    yield from _stack(rows, config.audio_layers)
    yield from norm_entries(f"{AST}.layernorm", "audio/norm_out")
    yield ParamEntry(f"{POOL}.cls_token", "audio/pool_token", token)
    yield from attention_entries(
        f"{POOL}.self_attn", "audio/pool/attention", config.audio_heads, IN_PROJ
    )
    for official, ours in (("linear1", "in"), ("linear2", "out")):
        yield from linear_entries(f"{POOL}.{official}", f"audio/pool/feed_forward/{ours}")
    for name in ("norm1", "norm2"):
        yield from norm_entries(f"{POOL}.{name}", f"audio/pool/{name}")
    yield from _offset_head_entries(config, token)


def _offset_head_entries(config: DesyncConfig, token) -> Iterator[ParamEntry]:
    yield from linear_entries("vproj", "head/video")
    yield from linear_entries("aproj", "head/audio")
    for official, ours in (("OFF_tok", "offset_token"), ("MOD_tok", "modality_token")):
        yield ParamEntry(f"{HEAD_MODEL}.{official}", f"head/{ours}", token)
    yield ParamEntry(f"{HEAD_MODEL}.pos_emb_cfg.pos_emb", "head/positions", ROW)
    norms = (("vis_in_lnorm", "norm_video"), ("aud_in_lnorm", "norm_audio"), ("ln_f", "norm_out"))
    for official, ours in norms:
        yield from norm_entries(f"{HEAD_MODEL}.{official}", f"head/{ours}")
    layer, rows = f"{HEAD_MODEL}.blocks.{{layer}}", []
    names = {**SPLIT, "out": "proj"}
    rows += attention_entries(f"{layer}.attn", "head/blocks/attention", config.head_heads, names)
    for official, ours in (("ln1", "norm1"), ("ln2", "norm2")):
        rows += norm_entries(f"{layer}.{official}", f"head/blocks/{ours}")
    for official, ours in (("0", "in"), ("2", "out")):
        rows += linear_entries(f"{layer}.mlp.{official}", f"head/blocks/feed_forward/{ours}")
    yield from _stack(rows, config.head_layers)
    yield from linear_entries(f"{HEAD_MODEL}.off_head", "head/out")


def desync_config(state: Mapping[str, ArrayLike]) -> DesyncConfig:
    """The network's size, from its tensors."""
    video = sync_config(state)
    rows = state[f"{HEAD_MODEL}.pos_emb_cfg.pos_emb"].shape[1]
    audio_tokens = (state[f"{AST}.embeddings.position_embeddings"].shape[1] - 2) // AUDIO_BANDS
    return DesyncConfig(
        **dataclasses.asdict(video),
        audio_layers=count_numbered(state, f"{AST}.encoder.layer.#."),
        audio_heads=max(1, video.width // HEAD),
        head_layers=count_numbered(state, f"{HEAD_MODEL}.blocks.#."),
        head_heads=max(1, video.width // HEAD_WIDTH),
        segments=(rows - 2) // (video.frames // 2 + audio_tokens),
        classes=state[f"{HEAD_MODEL}.off_head.bias"].shape[0],
    )


# ---- PaSST --------------------------------------------------------------------------------


def passt_entries(config: PasstConfig) -> Iterator[ParamEntry]:
    """The map of PaSST, as hear21passt names it."""
    width, layer = config.width, "blocks.{layer}"
    token = reshaping((1, 1, width), (width,))
    yield ParamEntry("cls_token", "class_token", token)
    yield ParamEntry("dist_token", "distill_token", token)
    yield ParamEntry("new_pos_embed", "token_positions", ROW)
    yield ParamEntry("time_new_pos_embed", "time_positions", rearranging("1 d 1 t", "t d"))
    yield ParamEntry("freq_new_pos_embed", "band_positions", rearranging("1 d f 1", "f d"))
    yield from linear_entries("patch_embed.proj", "patches")
    yield from attention_entries(f"{layer}.attn", "blocks/attention", config.heads, QKV)
    for name in ("norm1", "norm2"):
        yield from norm_entries(f"{layer}.{name}", f"blocks/{name}")
    for official, ours in (("fc1", "in"), ("fc2", "out")):
        yield from linear_entries(f"{layer}.mlp.{official}", f"blocks/feed_forward/{ours}")
    yield from norm_entries("norm", "norm_out")
    yield from norm_entries("head.0", "norm_classes")
    yield from linear_entries("head.1", "classes")


def passt_config(state: Mapping[str, ArrayLike]) -> PasstConfig:
    """The network's size, from its tensors."""
    width = state["cls_token"].shape[-1]
    return PasstConfig(
        width=width,
        layers=count_numbered(state, "blocks.#."),
        heads=max(1, width // HEAD),
        columns=state["time_new_pos_embed"].shape[-1],
        classes=state["head.1.bias"].shape[0],
    )


# ---- CLAP ---------------------------------------------------------------------------------

SOUND, TEXT = "audio_model.audio_encoder", "text_model"
POST_NORMS = {"attention.output.LayerNorm": "norm1", "output.LayerNorm": "norm2"}


def clap_sound_entries(config: ClapConfig, ours: str = "sound") -> Iterator[ParamEntry]:
    """The map of CLAP's sound branch, as transformers names it."""
    yield from batch_norm_entries(f"{SOUND}.batch_norm", f"{ours}/norm_in")
    yield from linear_entries(f"{SOUND}.patch_embed.proj", f"{ours}/patches")
    yield from norm_entries(f"{SOUND}.patch_embed.norm", f"{ours}/norm_patches")
    for stage, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
        theirs = f"{SOUND}.layers.{stage}"
        for block in range(depth):
            official, mine = f"{theirs}.blocks.{block}", f"{ours}/stage_{stage}_block_{block}"
            yield from _bert_layer(official, mine, heads, "self", PRE_NORMS)
            table = f"{official}.attention.self.relative_position_bias_table"
            yield ParamEntry(table, f"{mine}/attention/bias_table")
        if stage < len(config.depths) - 1:
            merge = f"{ours}/stage_{stage}_merge"
            yield from norm_entries(f"{theirs}.downsample.norm", f"{merge}/norm")
            yield from linear_entries(f"{theirs}.downsample.reduction", f"{merge}/out", bias=False)
    yield from norm_entries(f"{SOUND}.norm", f"{ours}/norm_out")
    yield from _projection_entries("audio_projection", ours)


def clap_text_entries(config: ClapConfig, ours: str = "text") -> Iterator[ParamEntry]:
    """The map of CLAP's text branch, as transformers names it."""
    embeddings = f"{TEXT}.embeddings"
    yield ParamEntry(f"{embeddings}.word_embeddings.weight", f"{ours}/tokens")
    yield ParamEntry(f"{embeddings}.token_type_embeddings.weight", f"{ours}/token_type", ROW)
    yield ParamEntry(f"{embeddings}.position_embeddings.weight", f"{ours}/positions")
    yield from norm_entries(f"{embeddings}.LayerNorm", f"{ours}/norm_in")
    layer = f"{TEXT}.encoder.layer.{{layer}}"
    rows = _bert_layer(layer, f"{ours}/blocks", config.text_heads, "self", POST_NORMS)
    yield from _stack(rows, config.text_layers)
    yield from linear_entries(f"{TEXT}.pooler.dense", f"{ours}/pool")
    yield from _projection_entries("text_projection", ours)


def _projection_entries(official: str, ours: str) -> Iterator[ParamEntry]:
    for theirs, mine in (("linear1", "in"), ("linear2", "out")):
        yield from linear_entries(f"{official}.{theirs}", f"{ours}/projection/{mine}")


def clap_entries(config: ClapConfig) -> Iterator[ParamEntry]:
    """The map of CLAP, as transformers names it."""
    yield from clap_sound_entries(config)
    yield from clap_text_entries(config)


def clap_sound_sizes(state: Mapping[str, ArrayLike]) -> dict:
    """The sound branch's part of the config, from its tensors."""
    stages = range(count_numbered(state, f"{SOUND}.layers.#."))
    table = ".blocks.0.attention.self.relative_position_bias_table"
    tables = [state[f"{SOUND}.layers.{stage}{table}"].shape for stage in stages]
    return {
        "bands": state[f"{SOUND}.batch_norm.weight"].shape[0],
        "window": (round(tables[0][0] ** 0.5) + 1) // 2,
        "width": state[f"{SOUND}.patch_embed.norm.weight"].shape[0],
        "depths": tuple(count_numbered(state, f"{SOUND}.layers.{s}.blocks.#.") for s in stages),
        "heads": tuple(heads for _, heads in tables),
        "projection": state["audio_projection.linear2.bias"].shape[0],
    }


def clap_text_sizes(state: Mapping[str, ArrayLike]) -> dict:
    """The text branch's part of the config, from its tensors."""
    vocabulary, width = state[f"{TEXT}.embeddings.word_embeddings.weight"].shape
    return {
        "vocabulary": vocabulary,
        "positions": state[f"{TEXT}.embeddings.position_embeddings.weight"].shape[0],
        "text_width": width,
        "text_layers": count_numbered(state, f"{TEXT}.encoder.layer.#."),
        "text_heads": max(1, width // HEAD),
        "text_hidden": state[f"{TEXT}.encoder.layer.0.intermediate.dense.bias"].shape[0],
        "projection": state["text_projection.linear2.bias"].shape[0],
    }


def clap_config(state: Mapping[str, ArrayLike]) -> ClapConfig:
    """The network's size, from its tensors."""
    return ClapConfig(**{**clap_sound_sizes(state), **clap_text_sizes(state)})


# ---- SyncNet ------------------------------------------------------------------------------

CONVOLUTIONS = (0, 4, 8, 11, 14, 18)  # among norms, activations and poolings
FLAT_KERNEL = rearranging("o i 1 h w", "h w i o")  # of one frame


def syncnet_entries(config: SyncnetConfig) -> Iterator[ParamEntry]:
    """The map of SyncNet, as syncnet_python names it."""
    towers = (("netcnnlip", "netfclip", "lips"), ("netcnnaud", "netfcaud", "sound"))
    for convolutions, dense, ours in towers:
        for i, number in enumerate(CONVOLUTIONS):
            flat = ours == "lips" and i
            transform = FLAT_KERNEL if flat else KERNEL
            yield from linear_entries(f"{convolutions}.{number}", f"{ours}/conv_{i}", transform)
            yield from batch_norm_entries(f"{convolutions}.{number + 1}", f"{ours}/conv_{i}_norm")
        yield from linear_entries(f"{dense}.0", f"{ours}/tower/in")
        yield from batch_norm_entries(f"{dense}.1", f"{ours}/tower/norm")
        yield from linear_entries(f"{dense}.3", f"{ours}/tower/out")


def syncnet_config(state: Mapping[str, ArrayLike]) -> SyncnetConfig:
    """The network's size, from its tensors."""
    widths = {
        tower: tuple(state[f"{tower}.{number}.weight"].shape[0] for number in CONVOLUTIONS)
        for tower in ("netcnnlip", "netcnnaud")
    }
    return SyncnetConfig(
        lip_widths=widths["netcnnlip"],
        sound_widths=widths["netcnnaud"],
        width=state["netfclip.3.bias"].shape[0],
    )
