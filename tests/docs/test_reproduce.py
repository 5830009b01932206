"""docs/reproduce.md: every command, in its order, on small data sets and random networks.

    python -m pytest -m slow tests/docs/test_reproduce.py

Twice: with networks of the published sizes, and with small ones, for a change of the commands
alone (`-k small`). What differs from the page: the folders of the data sets, weights as
safetensors (which need no torch) with hashes of their own, and `SMALLER`.
"""

import dataclasses
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from helpers import tiny_configs, tiny_encoders
from helpers.dataset_trees import write_tree

from benchmarks import full_size
from benchmarks.codec_memory import draw_weights
from vssflow_jax.codecs.audioldm import AudioldmCodec
from vssflow_jax.codecs.interface import save_codec
from vssflow_jax.codecs.vae import VaeConfig
from vssflow_jax.codecs.vocoder import VocoderConfig
from vssflow_jax.common.safetensors_io import write_arrays
from vssflow_jax.data.manifest import read_manifest
from vssflow_jax.datasets import grid
from vssflow_jax.encoders.clap import ClapConfig
from vssflow_jax.weights import audioldm, published

pytestmark = pytest.mark.slow

PAGE = tiny_configs.ROOT / "docs" / "reproduce.md"
TRAINING = (
    "--config.model.layers=2",
    "--config.data.batch_size=2",
    "--config.train.steps=2",
    "--config.train.checkpoint_every=2",
    "--config.train.validate_every=0",
    "--config.train.sample_every=0",
    "--config.sample.steps=2",
)
# The recipe's network, small: the same flags, none of its time.
SMALL_NETWORK = tuple(flag for flag in tiny_configs.NETWORK if "codec.channels" not in flag)
SMALLER = {"train": TRAINING, "evaluate": (), "convert": ("--unverified",)}
SCORED_BY_WHISPER = "--recognizer=whisper:base.en"  # left out: a file of its own


def read_commands():
    """The commands of the page as lists of arguments."""
    lines = re.findall(r"^    (python -m vssflow_jax.*)$", PAGE.read_text(), re.M)
    return [shlex.split(line)[2:] for line in lines]


def change(arguments, root):
    """A command of the page for the small world below `root`."""
    module, *flags = arguments
    flags = [flag.replace("/data/", f"{root}/data/") for flag in flags if flag != SCORED_BY_WHISPER]
    flags = [re.sub(r"\.(pt|pth|model)$", ".safetensors", flag) for flag in flags]
    name = module.rpartition(".")[2]
    takes_as_it_is = {"--kind=codec", "--check"} & {*flags}
    return [module, *flags, *(() if takes_as_it_is else SMALLER.get(name, ()))]


def make_corpus(folder, seconds):
    """MiniAV's clips by task: manifest rows."""
    flags = (f"--out={folder}", "--clips=12", f"--seconds={seconds}", "--seed=3")
    done = tiny_configs.run("corpus", *flags)
    assert done.returncode == 0, done.stderr
    rows = read_manifest(folder / "clips.csv")
    return {task: [row for row in rows if row.task == task] for task in ("speech", "sound")}


def name_grid_code(text):
    """GRID's name of a sentence: "bin blue at g nine now" is bbag9n."""
    slots = [{word: letter for letter, word in slot.items()} for slot in grid.WORDS]
    return "".join(slot[word] for slot, word in zip(slots, text.lower().split(), strict=True))


def make_data(root):
    """The four data sets, as short as their scores allow: 3 clips of VGGSound, 4 of speech."""
    short, long = make_corpus(root / "short", 2.4), make_corpus(root / "long", 5)
    sounds, speech = [*short["sound"][:2], long["sound"][0]], short["speech"]
    labels = ["wood", "water drop", "bell"]
    rows = [f"sound{k:06d},30,{label},{'test' if k else 'train'}" for k, label in enumerate(labels)]
    vggsound = {f"video/sound{k:06d}_000030.mp4": row.video for k, row in enumerate(sounds)}
    talker = {f"s1/{name_grid_code(speech[0].text)}.mp4": speech[0].video}
    lrs2 = {f"main/654321/0000{k}": row for k, row in enumerate(speech[1:3])}
    files = {f"VGGSound/{name}": video for name, video in vggsound.items()}
    files |= {f"GRID/{name}": video for name, video in talker.items()}
    files |= {f"LRS2/{name}.mp4": row.video for name, row in lrs2.items()}
    files["Chem/abcdefghijk-001.mp4"] = speech[3].video
    texts = {"VGGSound/vggsound.csv": "\n".join(rows) + "\n"}
    texts |= {f"LRS2/{name}.txt": f"Text:  {row.text.upper()}\nConf:  3\n"
              for name, row in lrs2.items()}  # fmt: skip
    texts |= {
        "LRS2/train.txt": "654321/00000\n",
        "LRS2/val.txt": "",
        "LRS2/test.txt": "654321/00001 NF\n",
        "Chem/abcdefghijk-001.txt": speech[3].text,
    }
    write_tree(root / "data", texts)
    for name, video in files.items():
        target = root / "data" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, target)


def encoder_config(kind, size):
    """The published size of an encoder, or a small one that takes the same media."""
    config = tiny_encoders.SMALL[kind] if size == "small" else published.KINDS[kind].config()
    return dataclasses.replace(config, bands=64) if kind == "clap" else config


def make_weights(root, commands, size):
    """A random official file for each `convert` of an encoder."""
    for arguments in commands:
        if arguments[0] != "vssflow_jax.convert" or {"--kind=codec", "--check"} & {*arguments}:
            continue
        kind, src = (flag.partition("=")[2] for flag in arguments[1:3])
        file = root / re.sub(r"\.(pt|pth|model)$", ".safetensors", src)
        file.parent.mkdir(exist_ok=True)
        if kind == "sync":
            continue  # the file of desync has it
        write_arrays(file, full_size.draw_official(kind, encoder_config(kind, size)))


def make_codec(root, size):
    """AudioLDM's codec with random weights, in the official layout."""
    vae, vocoder = VaeConfig(), VocoderConfig()
    if size == "small":
        vae = VaeConfig(widths=(4, 4, 4), blocks=1, groups=2)
        vocoder = VocoderConfig(width=32, block_kernels=(3,), block_dilations=((1,),))
    codec = AudioldmCodec(
        vae=draw_weights(audioldm.vae_shapes(vae), 0),
        vocoder=draw_weights(audioldm.vocoder_shapes(vocoder), 1),
        vae_config=vae,
        vocoder_config=vocoder,
    )
    save_codec(codec, root / "ours")
    flags = ("--kind=codec", "--reverse", f"--src={root / 'ours'}", f"--out={root / 'audioldm'}")
    done = tiny_configs.run("convert", *flags)
    assert done.returncode == 0, done.stderr


def write_tokenizer(path):
    """Words as tokens below the size of CLAP's vocabulary."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: k for k, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "wood"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    assert len(vocabulary) < ClapConfig().vocabulary
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


def measure_processor_time():
    """Seconds of all commands that have ended; other work on the machine hardly changes them."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("size", ["small", "published"])
def test_every_command_of_the_page_runs(size, tmp_path):
    commands = read_commands()
    assert len(commands) > 15
    make_data(tmp_path)
    make_weights(tmp_path, commands, size)
    make_codec(tmp_path, size)
    write_tokenizer(tmp_path / "clap" / "tokenizer.json")
    # Without the flags of the other tests, whose programs are not optimized.
    left_out = ("VSSFLOW_WEIGHTS", "XLA_FLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(tiny_configs.ROOT)}
    for arguments in commands:
        smaller = SMALL_NETWORK if (size, arguments[0]) == ("small", "vssflow_jax.train") else ()
        command = [sys.executable, "-m", *change(arguments, tmp_path), *smaller]
        began, processor = time.monotonic(), measure_processor_time()
        done = subprocess.run(
            command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        seconds = time.monotonic() - began, measure_processor_time() - processor
        print(
            "{:6.1f} s, processor {:6.1f} s".format(*seconds), shlex.join(command[2:]), flush=True
        )
        is_partial = arguments[0].endswith("evaluate") and done.returncode == 3
        assert done.returncode == 0 or is_partial, done.stderr[-3000:]
    metrics = json.loads((tmp_path / "runs" / "joint" / "eval" / "metrics.json").read_text())
    assert metrics["run"]["measures"].keys() == {"desync", "clap", "lse"}
    assert {"frechet", "desync", "clap_audio", "clap_text"} <= metrics["sound"].keys()
    assert {"lse_d", "lse_c", "wer", "clap_audio"} <= metrics["speech"].keys()
    # At the published size all but one are shorter than what DeSync compares, 4.8 s.
    assert metrics["sound"]["counted"]["desync"] == (2 if size == "small" else 1)
    floor = json.loads((tmp_path / "floor" / "metrics.json").read_text())
    assert floor["sound"]["clips"] == 2
