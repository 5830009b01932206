"""The kinds of files that are fuzzed: valid ones to start from, and what reads them."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import struct
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import numpy as np
from fuzz import mutations
from helpers import fixtures, in_process, odd_media
from hypothesis import strategies as st

from vssflow_jax import conditions, media, train
from vssflow_jax.codecs.interface import load_codec, save_codec
from vssflow_jax.codecs.pca import fit_pca
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.safetensors_io import read_arrays, write_arrays
from vssflow_jax.config import default_config, fields
from vssflow_jax.data import crop, folder, manifest, pipeline, shards
from vssflow_jax.evaluation import generated_folder
from vssflow_jax.features.registry import select_encoders
from vssflow_jax.generation import script_files
from vssflow_jax.generation.generator import read_statistics
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.sampling import SamplingOptions
from vssflow_jax.preparation import prepare, validation
from vssflow_jax.text import agreement, alignment, cues, normalize, phonemes, script, subwords
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.training import checkpoint, setup

CONTAINERS = {
    "a.mp4": {"tracks": [("aac", "mono")]},
    "b.mkv": {"tracks": [("pcm_s16le", "stereo"), ("libopus", "mono")]},
    "c.webm": {"codec": "libvpx-vp9", "tracks": [("libopus", "mono")]},
    "d.avi": {"codec": "mpeg4", "tracks": [("pcm_s16le", "mono")]},
    "e.ts": {"container": "mpegts", "tracks": [("aac", "mono")]},
    "f.mov": {"codec": "qtrle", "pixels": "rgb24", "tracks": [("pcm_s16le", "mono")]},
    "g.gif": {"codec": "gif", "pixels": "rgb8"},
    "h.png": {"codec": "png", "pixels": "rgb24", "container": "image2", "pictures": 1},
    "i.h264": {"container": "h264"},
    "j.wav": {"pictures": 0, "tracks": [("pcm_s16le", "mono")]},
    "k.wav": {"pictures": 0, "tracks": [("pcm_f32le", "stereo")]},
    "l.mp3": {"pictures": 0, "tracks": [("libmp3lame", "mono")]},
    "m.flac": {"pictures": 0, "tracks": [("flac", "mono")]},
    "n.ogg": {"pictures": 0, "tracks": [("libopus", "stereo")]},
    "o.aac": {"pictures": 0, "container": "adts", "tracks": [("aac", "mono")]},
    "q.caf": {"pictures": 0, "tracks": [("pcm_s16le", "mono")]},
    "r.w64": {"pictures": 0, "tracks": [("pcm_s16le", "mono")]},
    "s.aiff": {"pictures": 0, "tracks": [("pcm_s16be", "mono")]},
    "t.flv": {"tracks": [("aac", "mono")]},
    "u.wmv": {"codec": "wmv2", "container": "asf"},
    "v.mka": {"pictures": 0, "tracks": [("libopus", "mono")], "muxing": {"live": "1"}},
    "p.mp4": {"muxing": {"movflags": "frag_keyframe+empty_moov"}, "tracks": [("aac", "mono")]},
}
PICTURES, SAMPLES = 8, 4800
MAX_OUTPUT = 30.0  # seconds of a video that is written again; longer ones take their time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of input.

    Attributes:
      files: a valid folder: content by name.
      read: reads the folder, in which the file `name` was replaced, and writes only in `out`.
      damage: name of a file -> strategy of the contents that replace it.
      names: files that are replaced; empty: all.
      warm_up: loads what the first call would load.
    """

    files: Mapping[str, bytes]
    read: Callable[[Path, str, Path], None]
    damage: Callable[[Mapping[str, bytes], str], st.SearchStrategy[bytes]]
    names: tuple[str, ...] = ()
    warm_up: Callable[[], None] = int

    def inputs(self) -> st.SearchStrategy[tuple[str, bytes]]:
        """Names of files and what replaces them."""
        names = st.sampled_from(sorted(self.names or self.files))
        contents = {name: self.damage(self.files, name) for name in self.names or self.files}
        return names.flatmap(lambda name: st.tuples(st.just(name), contents[name]))


def _read_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _damage_bytes(files: Mapping[str, bytes], name: str) -> st.SearchStrategy[bytes]:
    return mutations.damaged_bytes(files[name], tuple(files.values()))


def _damage_json(files: Mapping[str, bytes], name: str) -> st.SearchStrategy[bytes]:
    is_json = name.endswith(".json")
    return mutations.damaged_json(files[name]) if is_json else _damage_bytes(files, name)


def _try_all(*steps: Callable[[], object]) -> None:
    """Calls every step; raises the last InputError if all of them raise one."""
    refusals = []
    for step in steps:
        try:
            step()
        except InputError as error:
            refusals.append(error)
    if len(refusals) == len(steps):
        raise refusals[-1]


# ---- media --------------------------------------------------------------------------------


def make_media() -> Kind:
    """Videos, sounds and pictures of several containers and codecs."""
    with tempfile.TemporaryDirectory() as root:
        wave = fixtures.make_tone(SAMPLES / odd_media.RATE)
        for name, settings in CONTAINERS.items():
            settings = {"pictures": PICTURES, "size": (32, 32)} | settings
            tracks = [
                (
                    codec,
                    layout,
                    odd_media.split_chunks(np.stack([wave] * (1 + (layout == "stereo")))),
                )
                for codec, layout in settings.pop("tracks", ())
            ]
            odd_media.write_media(Path(root, name), tracks=tracks, **settings)
        return Kind(files=_read_files(Path(root)), read=read_media, damage=_damage_bytes)


def read_media(folder: Path, name: str, out: Path) -> None:
    """Everything that preparation and generation do with a media file."""
    path = folder / name

    def mux() -> None:
        for suffix in (".mp4", ".mkv"):
            if media.plan_mux(path, out / f"o{suffix}", 0.3).seconds < MAX_OUTPUT:
                media.mux(path, np.zeros(SAMPLES, np.float32), odd_media.RATE, out / f"o{suffix}")

    def read_frames() -> None:
        for start, seconds in ((0.0, None), (0.16, 0.1)):
            for _ in media.FrameReader(path, 25, 32, start=start, seconds=seconds):
                pass

    _try_all(
        lambda: media.probe(path),
        lambda: media.read_sound(path),
        lambda: media.read_sound(path, start=0.1, seconds=0.1, track=1),
        read_frames,
        mux,
    )


# ---- shards -------------------------------------------------------------------------------


def _make_record(number: int, latent_frames: int = 10) -> dict:
    rng = np.random.default_rng(number)
    seconds = latent_frames / conditions.LATENT_RATE
    record = {
        "wave": rng.integers(-1000, 1000, round(seconds * conditions.SAMPLE_RATE)).astype(np.int16),
        "phonemes": rng.integers(0, 70, latent_frames).astype(np.int32),
        "speaker": rng.normal(size=256).astype(np.float16),
        "meta": {
            "id": f"clip{number}", "task": "speech", "duration": seconds, "text": "set blue",
            "alignment": [[0.1, 0.2, "S"]],
        },
    }  # fmt: skip
    return record


def make_shards() -> Kind:
    """A folder of shards with its dataset.json."""
    with tempfile.TemporaryDirectory() as root:
        splits = {}
        for split in ("train", "test"):
            path = Path(root, f"{split}-00000.array_record")
            with shards.open_shard_writer(path) as write:
                for number in range(3):
                    write(_make_record(number))
            splits[split] = {
                "files": [path.name], "bytes": [path.stat().st_size], "sha256": ["0" * 64],
                "clips": 3, "tasks": {"speech": 3}, "seconds": {"speech": 1.2}, "missing": {},
                "silent": [], "rows": {"speech": [0, 1, 2]},
            }  # fmt: skip
        splits["valid"] = {"files": [], "bytes": [], "sha256": [], "clips": 0, "silent": [],
                           "rows": {}, "tasks": {}, "seconds": {}, "missing": {}}  # fmt: skip
        info = {
            "version": shards.VERSION, "sample_rate": 16_000, "latent_rate": 25, "max_seconds": 1.0,
            "overlap": 0.0, "wave": {"dtype": "int16", "codec": None},
            "features": shards.describe_features(select_encoders("built-in")), "splits": splits,
            "skipped": 0, "notes": {}, "cut_ends": 0, "hash": "0" * 16,
            "statistics": {"phoneme_durations": {"S": 0.1}, "encoders": "built-in"},
        }  # fmt: skip
        Path(root, shards.DATASET).write_text(json.dumps(info))
        Path(root, shards.SKIPPED).write_text("id,split,file,reason\n")
        names = (shards.DATASET, "train-00000.array_record")
        return Kind(
            files=_read_files(Path(root)), read=read_shards, damage=_damage_json, names=names
        )


def read_shards(folder: Path, name: str, out: Path) -> None:
    """What training, sampling and validation do with a folder of shards."""
    if name != shards.DATASET:  # otherwise most inputs would end at the file's size
        folder = shutil.copytree(folder, out / "shards")
        info = json.loads((folder / shards.DATASET).read_text())
        info["splits"]["train"]["bytes"] = [(folder / name).stat().st_size]
        (folder / shards.DATASET).write_text(json.dumps(info))
    config = default_config()
    config.data.duration = 0.4

    def read_training() -> None:
        dataset = setup.open_dataset(config, folder)
        spec = pipeline.BatchSpec.from_duration(0.4, dataset.rates)
        crop.describe_lengths(dataset.records, spec.latent_frames)
        pipeline.stack_examples(
            [pipeline.make_example(dataset.records[k], spec) for k in range(len(dataset.records))]
        )

    def read_test() -> None:
        for record in shards.open_split(folder, "test"):
            round(record["meta"]["duration"] * 16_000)

    _try_all(read_training, read_test, lambda: _validate(folder))


def _validate(folder: Path) -> None:
    report = validation.validate_shards(folder, progress=False)
    validation.format_summary(report)


# ---- arrays -------------------------------------------------------------------------------


def make_arrays() -> Kind:
    """Weights, a codec and a record as safetensors."""
    with tempfile.TemporaryDirectory() as root:
        rng = np.random.default_rng(0)
        write_arrays(
            Path(root, "weights.safetensors"),
            {"a/b": np.zeros((3, 4), np.float32), "c": np.arange(5), "d": np.ones(2, np.float16)},
        )
        save_codec(fit_pca([rng.normal(size=16_000).astype(np.float32)], channels=4), root)
        Path(root, "record.safetensors").write_bytes(shards.encode_record(_make_record(0)))
        return Kind(files=_read_files(Path(root)), read=read_tensors, damage=_damage_arrays)


@st.composite
def _damaged_header(draw, data: bytes):
    """A safetensors file whose header is another JSON document, of the length that it says."""
    size = struct.unpack("<Q", data[:8])[0]
    header = draw(mutations.damaged_json(data[8 : 8 + size]))
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def _damage_arrays(files: Mapping[str, bytes], name: str) -> st.SearchStrategy[bytes]:
    if name.endswith(".json"):
        return mutations.damaged_json(files[name])
    return _damaged_header(files[name]) | _damage_bytes(files, name)


def read_tensors(folder: Path, name: str, out: Path) -> None:
    """Reads weights, a codec, or a record through a shard."""
    if name == "weights.safetensors":
        for array in read_arrays(folder / name).values():
            np.asarray(array)
    elif name == "record.safetensors":
        shard = out / "a.array_record"
        with shards.open_shard_writer(shard) as write:
            write((folder / name).read_bytes())
        record = shards.Split([str(shard)])[0]
        spec = pipeline.BatchSpec.from_duration(0.4, {})
        pipeline.stack_examples([pipeline.make_example(x, spec) for x in (record, _make_record(1))])
    else:
        load_codec(folder)


# ---- tables and texts -----------------------------------------------------------------------

GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.5
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 0.5
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.2
            text = "S"
        intervals [2]:
            xmin = 0.2
            xmax = 0.5
            text = "EH1"
"""
TABLES = {
    "clips.csv": "id,split,video,audio,text,speaker_audio,alignment,task\n"
    'a,train,a.mp4,,"set blue, now",,b.csv,\nb,test,b.mp4,c.wav,,d.wav,,sound\n'
    "é,valid,e.mp4,,two,,,joint\n",
    "annotations.jsonl": '{"id": "a", "mouth": [1, 2, 3, 4], "onsets": [0.5, 1]}\n{"id": "b"}\n',
    "lines.csv": "start,end,text,speaker\n0.5,2.5,bin red,voice.wav\n4.0,,set blue,\n",
    "talk.srt": "1\n00:00:01,000 --> 00:00:02,500\n[Anna] <i>set</i> blue\n\n"
    "2\n00:00:03,000 --> 00:00:04,000\n- BOB: bin red\n- [hums] \u266a la\n",
    "talk.vtt": "WEBVTT\n\nNOTE a comment\n\nintro\n00:01.000 --> 00:02.500 align:start\n"
    "<v.loud Anna>set &amp; blue</v>\n\n00:03.000 --> 00:04.000\nbin<00:03.500><c> red</c>\n",
    "talk.ass": "[Script Info]\n\n[V4+ Styles]\nStyle: Top,Arial,20\n\n[Events]\nFormat: Layer, "
    "Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:01.00,0:00:02.50,Top,Anna,0,0,0,,{\\i1}set{\\i0}\\Nblue\n"
    "Dialogue: 0,0:00:03.00,0:00:04.00,Top,,0,0,0,,{\\p1}m 0 0{\\p0}bin red\n",
    "times.csv": "start,end,phoneme\n0,0.2,S\n0.2,0.4,EH1\n",
    "times.TextGrid": GRID,
    "short.TextGrid": '"ooTextFile"\n"TextGrid"\n0\n1\n<exists>\n1\n"IntervalTier"\n"phones"\n'
    '0\n1\n1\n0\n1\n"S"\n',
    "generated/manifest.csv": "id,audio\na,x.wav\nb,y.wav\n",
    "films/a.txt": "set blue at g nine now",
    "films/a.mp4": "",
    "films/b.wav": "",
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32")


def make_tables() -> Kind:
    """Manifests, annotations, scripts, alignments, transcripts."""
    files = {name: text.encode() for name, text in TABLES.items()}
    names = tuple(name for name, text in TABLES.items() if text)
    return Kind(files=files, read=read_tables, damage=_damage_table, names=names)


@st.composite
def _damaged_table(draw, text: str):
    """A table with other cells, separators, line ends or encoding."""
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text)))
        size = draw(st.integers(0, 8))
        text = text[:place] + draw(mutations.TEXTS) + text[place + size :]
    if draw(st.booleans()):
        text = text.replace(",", draw(st.sampled_from((";", "\t", ",,", "|"))))
    if draw(st.booleans()):
        text = text.replace("\n", draw(st.sampled_from(("\r\n", "\r", "\n\n", "\u2028"))))
    if draw(st.integers(0, 5)) == 0:
        text = "sep=;\n" + text
    return text.encode(draw(st.sampled_from(ENCODINGS)), "replace")


def _damage_table(files: Mapping[str, bytes], name: str) -> st.SearchStrategy[bytes]:
    table = _damaged_table(files[name].decode())
    damaged = table | mutations.damaged_bytes(files[name])
    if name.endswith(".jsonl"):
        return damaged | mutations.damaged_json(files[name].splitlines()[0])
    return damaged


def read_tables(folder_path: Path, name: str, out: Path) -> None:
    """The reader of each table, and what follows from its rows."""
    path = folder_path / name
    if name == "clips.csv":
        rows = manifest.read_manifest(path)
        prepare.check_window_ids(rows, prepare.PrepareOptions())
        with contextlib.suppress(InputError):
            subwords.read_transcripts(path)
    elif name == "annotations.jsonl":
        manifest.read_annotations(folder_path / "clips.csv")
    elif name == "lines.csv":
        lines = script.read_script(path)
        script.align_script(lines[:20], 60.0, {})
    elif name.startswith("talk."):
        lines, _ = script_files.read_script_file(path, {"anna": path})
        fitted, _ = cues.fit_cues(lines[:20], None, {}, [None] * len(lines[:20]))
        script.align_script(fitted, None, {})
    elif name.startswith(("times", "short")):
        intervals = alignment.read_alignment(path)
        phonemes_to_frames(intervals, 25)
        agreement.find_mismatch(["set"], intervals)
    elif name == "generated/manifest.csv":
        files = generated_folder.find_files(path.parent)
        generated_folder.extra_files(path.parent, files, ["a"])
    else:
        folder.read_folder(path.parent)


def make_texts() -> Kind:
    """What people type to be said."""
    return Kind(files={"text": b""}, read=read_text, damage=_damage_text, warm_up=warm_up_text)


def _damage_text(files: Mapping[str, bytes], name: str) -> st.SearchStrategy[bytes]:
    return mutations.TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))


def warm_up_text() -> None:
    """Loads the dictionary and eSpeak."""
    phonemes.pronounce(["set", "zxqv"])


def read_text(folder: Path, name: str, out: Path) -> None:
    """Words, phonemes and times of a text, under both policies."""
    text = (folder / name).read_bytes().decode("utf-8", "surrogatepass")
    _try_all(
        lambda: phonemes.pronounce(normalize.words(text)),
        lambda: alignment.align_text(text, None, None, None, {}, normalize.SKIP),
        lambda: alignment.align_text(text, 0.5, 3.0, 4.0, {}, normalize.SKIP),
    )


# ---- configs ------------------------------------------------------------------------------


EMPTY_SHA256 = hashlib.sha256().hexdigest()


def make_configs() -> Kind:
    """The JSON files of a run, flags of a training, and requests."""
    config = default_config()
    config.data.shards = "shards"
    request = {
        "video": "in.mp4", "text": "set blue", "speaker": None, "task": None,
        "audio_track": 1, "duration": 4.0, "speech_start": 0.5, "speech_end": 2.0,
        "text_policy": "refuse", "steps": 2, "solver": "euler", "guidance": 1.5,
        "scales": {"sync": 1.8},
    }  # fmt: skip
    files = {
        "config.json": config.to_json().encode(),
        "statistics.json": json.dumps(
            {
                "rates": {"clip": 10, "sync": 24, "speaker": None},
                "phoneme_durations": {"S": 0.1},
                "encoders": "built-in",
            }
        ).encode(),
        "export.json": json.dumps({"step": 3, "weights": EMPTY_SHA256, "codec": "0" * 16}).encode(),
        "flags.json": b"[]",
        "request.json": json.dumps(request).encode(),
        "weights.safetensors": b"",
    }
    names = tuple(name for name in files if name.endswith(".json"))
    return Kind(files=files, read=read_config, damage=_damage_config, names=names)


@st.composite
def _flags(draw):
    """Flags of a training: fields with any values."""
    names = st.sampled_from([field.name for field in fields.FIELDS])
    values = st.one_of(
        st.integers().map(str),
        st.floats().map(str),
        mutations.TEXTS,
        st.sampled_from(["", "None", "True", "()", "(1, 2)", "('speech',)", "[1", "0x10", "1_000"]),
    )
    flags = draw(st.lists(st.tuples(names, values), min_size=1, max_size=3))
    return json.dumps([f"--config.{name}={value}" for name, value in flags]).encode()


def _damage_config(files: Mapping[str, bytes], name: str) -> st.SearchStrategy[bytes]:
    return _flags() if name == "flags.json" else mutations.damaged_json(files[name])


def read_config(folder: Path, name: str, out: Path) -> None:
    """The reader of each file, and the checks that follow."""
    if name == "config.json":
        checkpoint.read_config(folder)
    elif name == "statistics.json":
        read_statistics(folder / name)
    elif name == "export.json":
        checkpoint.read_export(folder)
    elif name == "request.json":
        request = None
        with contextlib.suppress(ValueError, RecursionError):  # values are fuzzed, not their file
            request = json.loads((folder / name).read_bytes())
        _read_request(request)
    else:
        _read_flags(json.loads((folder / name).read_bytes()), out)


def _read_request(values: object) -> None:
    if not isinstance(values, dict):
        return
    options = ("steps", "solver", "guidance", "scales")
    sampling = {key: values[key] for key in options if key in values}
    names = ("video", "text", "speaker", "task", "audio_track", "duration", "speech_start",
             "speech_end", "text_policy")  # fmt: skip
    Request.parse(**{key: values[key] for key in names if key in values})
    SamplingOptions(**sampling).resolve(default_config())


def _read_flags(flags: list[str], out: Path) -> None:
    """Starts a training with flags up to the checks before its first step."""
    with (
        mock.patch.object(train, "train", lambda config, path: setup.check(config, Path(path))),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of ml_collections, about the import of recipes
        done = in_process.run("train", "--config=grid", f"--workdir={out / 'run'}", *flags)
    if done.returncode == 2:
        lines = done.stderr.strip().splitlines()
        if len(lines) != 1 or not lines[0].startswith("error: "):
            raise AssertionError(f"expected one line, found {done.stderr[-300:]!r}")
        raise InputError(lines[0])
    if done.returncode:
        raise AssertionError(f"exit status {done.returncode}: {done.stderr[-300:]}")


MAKERS: dict[str, Callable[[], Kind]] = {
    "media": make_media,
    "shards": make_shards,
    "safetensors": make_arrays,
    "tables": make_tables,
    "configs": make_configs,
    "texts": make_texts,
}
