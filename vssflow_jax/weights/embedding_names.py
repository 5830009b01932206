"""The maps of names of VGGish and CNN14, the embeddings that evaluation uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vssflow_jax.common.safetensors_io import ArrayLike
from vssflow_jax.encoders.cnn14 import Cnn14Config
from vssflow_jax.encoders.vggish import VggishConfig
from vssflow_jax.weights.encoder_names import count_numbered
from vssflow_jax.weights.mapping import ParamEntry, batch_norm_entries, linear_entries

VGGISH_CONVS = (0, 3, 6, 8, 11, 13)  # among activations and poolings
VGGISH_DENSE = {0: "dense_0", 2: "dense_1", 4: "out"}
MEL = "logmel_extractor.melW"


def vggish_entries(config: VggishConfig) -> Iterator[ParamEntry]:
    """The map of VGGish, as torchvggish names it."""
    for i, number in enumerate(VGGISH_CONVS):
        yield from linear_entries(f"features.{number}", f"conv_{i}")
    for number, ours in VGGISH_DENSE.items():
        yield from linear_entries(f"embeddings.{number}", ours)


def vggish_config(state: Mapping[str, ArrayLike]) -> VggishConfig:
    """The network's size, from its tensors."""
    widths = tuple(state[f"features.{number}.weight"].shape[0] for number in VGGISH_CONVS)
    hidden, width = (state[f"embeddings.{number}.weight"].shape[0] for number in (0, 4))
    return VggishConfig(widths=widths, hidden=hidden, width=width)


def cnn14_entries(config: Cnn14Config) -> Iterator[ParamEntry]:
    """The map of CNN14, as PANNs names it."""
    yield ParamEntry(MEL, "filters")
    yield from batch_norm_entries("bn0", "norm_in")
    for i in range(len(config.widths)):
        for k in (1, 2):
            theirs, ours = f"conv_block{i + 1}", f"block_{i}"
            yield from linear_entries(f"{theirs}.conv{k}", f"{ours}_conv{k}", bias=False)
            yield from batch_norm_entries(f"{theirs}.bn{k}", f"{ours}_norm{k}")
    yield from linear_entries("fc1", "features")
    yield from linear_entries("fc_audioset", "classes")


def cnn14_config(state: Mapping[str, ArrayLike]) -> Cnn14Config:
    """The network's size, from its tensors."""
    blocks = range(1, count_numbered(state, "conv_block#."))
    return Cnn14Config(
        widths=tuple(state[f"conv_block{i}.conv1.weight"].shape[0] for i in blocks),
        features=state["fc1.weight"].shape[0],
        classes=state["fc_audioset.weight"].shape[0],
        bands=state["bn0.weight"].shape[0],
        window=2 * (state[MEL].shape[0] - 1),
    )
