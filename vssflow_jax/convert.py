"""Published weights to ours and back.

    python -m vssflow_jax.convert --kind=vssflow --src=model.ckpt --out=DIR
    python -m vssflow_jax.convert --kind=codec --src=audioldm --out=DIR/codec
    python -m vssflow_jax.convert --kind=vssflow --reverse --src=DIR --out=model.safetensors

DIR is then sampled like a run's folder, and `--config.train.init_from=DIR` trains on from it. The
recipe says what model the checkpoint is of: the paper's joint one, or with
`--config=configs/ablations/none.py` and the like another. A codec's halves are also taken one
at a time, by the kinds `vae` and `vocoder`. Encoders have the kinds `clip`, `sync`, `lips`,
`speaker` and `dvector`, embeddings for evaluation `vggish` and `cnn14`; where their files are from
stands in docs/weights.md:

    python -m vssflow_jax.convert --kind=clip --src=ViT-B-16.pt --out=weights/clip
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line, recipes
from vssflow_jax.weights import codec, network, published

KINDS = ("vssflow", "codec", *codec.HALVES, *published.KINDS)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_enum("kind", None, KINDS, "What the weights are of.")
    flags.DEFINE_string("src", None, "Published file or folder; with --reverse ours.")
    flags.DEFINE_string("out", None, "Folder to write; with --reverse a file or a folder.")
    flags.DEFINE_bool("reverse", False, "From our weights to published names.")
    flags.DEFINE_enum("dtype", "float32", ("float32", "float16"), "Of an encoder's stored weights.")
    command_line.define_config(
        recipes.locate("configs/joint.py"), "Recipe of the model (kind vssflow)."
    )


def main() -> None:
    """Flags in, converted weights out."""
    if not (flags.FLAGS.kind and flags.FLAGS.src and flags.FLAGS.out):
        raise InputError(f"expected --kind={'|'.join(KINDS)}, --src and --out")
    kind, src, out = flags.FLAGS.kind, flags.FLAGS.src, flags.FLAGS.out
    if kind in published.KINDS and flags.FLAGS.reverse:
        told = published.revert(kind, src, out)
    elif kind in published.KINDS:
        told = published.convert(kind, src, out, flags.FLAGS.dtype)
    elif kind != "vssflow":
        told = (codec.revert if flags.FLAGS.reverse else codec.convert)(kind, src, out)
    elif flags.FLAGS.reverse:
        told = network.revert(src, out)
    else:
        told = network.convert(src, out, flags.FLAGS.config)
    print(told)


if __name__ == "__main__":
    command_line.run(main, define_flags)
