"""Converts published weights to ours and back.

    python -m vssflow_jax.convert --kind=vssflow --src=model.ckpt --out=DIR
    python -m vssflow_jax.convert --kind=codec --src=audioldm --out=DIR/codec
    python -m vssflow_jax.convert --kind=vssflow --reverse --src=DIR --out=model.safetensors

DIR is then sampled like a run's folder, and `--config.train.init_from=DIR` trains on from it. The
recipe names the model of the checkpoint: the paper's joint model, or an ablation's with
`--config=configs/ablations/none.py`. A codec's two parts can also be converted one at a time, with
the kinds `vae` and `vocoder`; `oobleck` is the codec of Stable Audio Open and ACE-Step. Encoders
have the kinds `clip`, `sync`, `lips`, `speaker` and `dvector`, embeddings for evaluation `vggish`
and `cnn14`; docs/weights.md lists where their files come from:

    python -m vssflow_jax.convert --kind=clip --src=ViT-B-16.pt --out=weights/clip

`--src` may be a name on the Hugging Face hub, ORG/NAME@REVISION with or without a path in the
repository. `--check` says which weights a folder has, with their hashes, and what is still needed
for which recipe and score:

    python -m vssflow_jax.convert --check weights

A file of an encoder whose SHA-256 is not the published one is an error, unless `--unverified` is
passed.
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line, recipes
from vssflow_jax.weights import codec, inventory, network, published

KINDS = ("vssflow", *codec.KINDS, *published.KINDS)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_enum("kind", None, KINDS, "What the weights are of.")
    command_line.define_path("src", None, "Published file or folder; with --reverse ours.")
    command_line.define_path("out", None, "Folder to write; with --reverse a file or a folder.")
    command_line.define_path("check", None, "Folder of weights to look at instead.")
    flags.DEFINE_bool("reverse", False, "From our weights to published names.")
    flags.DEFINE_enum("dtype", "float32", ("float32", "float16"), "Of an encoder's stored weights.")
    flags.DEFINE_bool(
        "unverified",
        False,
        "Convert an encoder's file with another SHA-256 than the published one.",
    )
    command_line.define_config(
        recipes.find_recipe("configs/joint.py"), "Recipe of the model (kind vssflow)."
    )


def main() -> None:
    """Flags in, converted weights out."""
    if flags.FLAGS.check is not None:
        print(inventory.format_report(flags.FLAGS.check))
        return
    if not (flags.FLAGS.kind and flags.FLAGS.src and flags.FLAGS.out):
        raise InputError(f"expected --kind={'|'.join(KINDS)}, --src and --out, or --check")
    kind, src, out = flags.FLAGS.kind, flags.FLAGS.src, flags.FLAGS.out
    if flags.FLAGS.reverse:
        summary = _revert(kind, src, out)
    elif kind in published.KINDS:
        summary = published.convert(
            kind, src, out, dtype=flags.FLAGS.dtype, unverified=flags.FLAGS.unverified
        )
    elif kind == "vssflow":
        summary = network.convert(src, out, flags.FLAGS.config)
    else:
        summary = codec.convert(kind, src, out)
    print(summary)


def _revert(kind: str, src: str, out: str) -> str:
    if kind == "vssflow":
        return network.revert(src, out)
    return (published if kind in published.KINDS else codec).revert(kind, src, out)


if __name__ == "__main__":
    command_line.run(main, define_flags)
