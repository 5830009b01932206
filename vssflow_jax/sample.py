"""Generates sound: `python -m vssflow_jax.sample --workdir=DIR --video=in.mp4 --out=out.mp4`.

Without --workdir it uses the shipped model. With --text it speaks, with --speaker in that voice;
with --script it speaks the lines of a table, each at its own time and in its own voice; with
--shards it generates a split, one wav a clip and a manifest.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from tqdm import tqdm

from vssflow_jax import bundled, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import check_writable, resolve, to_path, write_text
from vssflow_jax.common.pairs import parse_pairs
from vssflow_jax.config import command_line
from vssflow_jax.data import shards
from vssflow_jax.generation.background import BackgroundGeneration
from vssflow_jax.generation.conditioning import KEPT_VOICE
from vssflow_jax.generation.content_credentials import (
    Credentials,
    check_signable,
    read_credentials,
)
from vssflow_jax.generation.mixing import (
    ADD,
    DUCK,
    MIXES,
    ORIGINAL,
    REPLACE,
    MixOptions,
    mix_output,
)
from vssflow_jax.generation.output import TIME_FORMATS, Output, check_times, list_files
from vssflow_jax.generation.prompting import MAX_READ
from vssflow_jax.generation.provenance import MODEL, describe_origin
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.sampling import (
    GRID_HELP,
    JOINT_HELP,
    PRECISION_HELP,
    SCALES_HELP,
    SOUND_LEVEL_HELP,
    SPEECH_AUDIBILITY_HELP,
    SPEECH_LEVEL_HELP,
    SamplingOptions,
    parse_scales,
)
from vssflow_jax.generation.stems import STEMS
from vssflow_jax.text.normalize import POLICIES, REFUSE

if TYPE_CHECKING:
    import numpy as np

    from vssflow_jax.generation.generator import Generator
    from vssflow_jax.generation.synthesis import Progress

CHUNK = 64  # examples that are read and generated at a time
SINGLE_CLIP = (
    "video",
    "text",
    "script",
    "speaker",
    "audio_track",
    "task",
    "speech_start",
    "speech_end",
    "duration",
    "keep",
    "redo",
    "redo_text",
    "loop",
    "prompt_audio",
    "prompt_text",
)
SAMPLING = (
    "solver",
    "steps",
    "grid",
    "guidance",
    "guidance_start",
    "guidance_stop",
    "apg_eta",
    "apg_momentum",
    "joint",
    "speech_level",
    "sound_level",
    "speech_audibility",
)
MIXING = ("original_level", "generated_level", "duck_level", "loudness")
# Beside the request's own, the flags that a split of --shards has no use for.
OF_ONE_CLIP = (
    *SINGLE_CLIP, "voice", "text_policy", "seeds", "candidates", "recognizer", "stems", "times_out",
    "mix", *MIXING, "c2pa_certificates", "c2pa_key",
)  # fmt: skip
NEEDS = {  # flags that have no effect without one of others
    "split": ("shards",),
    "audio_track": ("speaker", "script", "prompt_audio"),
    "recognizer": ("candidates", "seeds", "prompt_audio"),
}
MAX_CANDIDATES = 64
SCORES = ("wer", "speaker_similarity", "lip_agreement", "loop_join")  # columns of the candidates


def sample_one(generator: Generator, out: Path) -> None:
    """Generates one clip as the flags say."""
    check_output(out)
    credentials = load_credentials(out)
    seeds, request = list_seeds(), parse_request()
    mix = MixOptions(mode=flags.FLAGS.mix, **{name: flags.FLAGS[name].value for name in MIXING})
    mix.check(request)
    check_inputs_stay(request, out, len(seeds))
    options = sampling_options()
    recognizer = None
    if len(seeds) > 1:
        from vssflow_jax.generation.reranking import load_recognizer, rerank

        recognizer = load_recognizer(flags.FLAGS.recognizer)  # before the generation

    def generate(report: Progress) -> list[Output]:
        arguments = {"options": options, "stems": flags.FLAGS.stems, "progress": report}
        if flags.FLAGS["candidates"].present or flags.FLAGS.seeds:
            return generator.generate_candidates(request, seeds, **arguments)
        return [generator.generate(request, flags.FLAGS.seed, **arguments)]

    running = BackgroundGeneration(generate)
    with tqdm(total=1.0, desc="sample", bar_format="{l_bar}{bar}", disable=None) as bar:
        outputs = running.wait(lambda fraction: bar.update(fraction - bar.n))
    if recognizer is not None:
        outputs = rerank(outputs, request, generator.encoder_set, recognizer)
        write_text(name_table(out), format_candidates(out, outputs))
    shown = print_warnings(outputs[0].report["warnings"], set())
    for place, output in enumerate(outputs, 1):
        path, output = name_candidate(out, place), mix_output(output, mix)
        output.save(path, flags.FLAGS.times_out, credentials)
        shown = print_warnings(output.report["warnings"], shown)
        print(f"{path}: {describe(output.report)}")


def check_flags() -> None:
    """Raises an InputError for flags that have no effect beside the others."""
    present = {name for name in flags.FLAGS if flags.FLAGS[name].present}
    single = [
        name for name in OF_ONE_CLIP if name in present and flags.FLAGS[name].value is not False
    ]
    if "shards" in present and single:
        raise InputError(f"found --{single[0]} beside --shards, expected one or the other")
    for name, others in NEEDS.items():
        if name in present and not present & {*others}:
            expected = " or ".join(f"--{other}" for other in others)
            raise InputError(f"--{name}: found without {expected}, expected with it")
    mix = flags.FLAGS.mix
    for name, modes in (("original_level", (ADD, DUCK)), ("duck_level", (DUCK,))):
        if name in present and mix not in modes:
            expected = " or ".join(f"--mix={mode}" for mode in modes)
            raise InputError(f"--{name}: found beside --mix={mix}, expected {expected}")


def load_credentials(out: Path) -> Credentials | None:
    """The credentials that sign the output, checked; None without the flags for them."""
    files = flags.FLAGS.c2pa_certificates, flags.FLAGS.c2pa_key
    if files == (None, None):
        return None
    if None in files:
        raise InputError("found one of --c2pa_certificates and --c2pa_key, expected both or none")
    check_signable(out)
    return read_credentials(*files)


def check_output(out: Path) -> None:
    """Raises an InputError for an output that cannot be written, or cannot hold what is asked."""
    if not out.suffix:
        raise InputError(
            f"--out={out}: found no ending, expected a file such as out.mp4 or out.wav"
        )
    if flags.FLAGS.video is None and out.suffix.lower() != ".wav":
        raise InputError(f"--out={out}: expected a .wav name, since there is no --video")
    check_writable(out)
    if flags.FLAGS.video is not None and out.suffix.lower() != ".wav":
        media.plan_mux(flags.FLAGS.video, out, flags.FLAGS.duration)
    check_times(flags.FLAGS.times_out, out)
    texts = (flags.FLAGS.text, flags.FLAGS.script, flags.FLAGS.redo_text)
    if flags.FLAGS.times_out and texts == (None, None, None):
        raise InputError("--times_out: found neither --text nor --script, expected words")


def list_seeds() -> list[int]:
    """The seeds of the outputs, from the flags."""
    count, items = flags.FLAGS.candidates, flags.FLAGS.seeds
    if items:
        for name in ("seed", "candidates"):
            if flags.FLAGS[name].present:
                raise InputError(f"found --{name} beside --seeds, expected one or the other")
        numbers = {int(item) for item in items if item.isdecimal()}
        if len(numbers) < len(items):
            raise InputError(
                f"--seeds: found {','.join(items)!r}, expected different numbers such as 3,7,12"
            )
        count = len(items)
    if not 1 <= count <= MAX_CANDIDATES:
        flag = "seeds" if items else "candidates"
        raise InputError(f"--{flag}: found {count}, expected 1 to {MAX_CANDIDATES}")
    return [int(item) for item in items] or [flags.FLAGS.seed + number for number in range(count)]


def parse_request() -> Request:
    """The request of the flags."""
    fields = {name: flags.FLAGS[name].value for name in SINGLE_CLIP}
    if fields["prompt_audio"] is not None and fields["prompt_text"] is None:
        fields["prompt_text"] = recognize_prompt(fields["prompt_audio"], fields["audio_track"])
    voices = parse_voices(flags.FLAGS.voice)
    return Request.parse(**fields, voices=voices, text_policy=flags.FLAGS.text_policy)


def recognize_prompt(path: str, track: int | None) -> str | None:
    """What is said in a voice prompt, printed as well; None without an open --recognizer."""
    if flags.FLAGS.recognizer is None:
        return None
    from vssflow_jax.generation.reranking import load_recognizer

    wave = media.read_audio(path, track=track, seconds=MAX_READ)
    (text,) = load_recognizer(flags.FLAGS.recognizer).transcribe([wave])
    print(f"{path}: recognized {text!r}")
    return text


def check_inputs_stay(request: Request, out: Path, count: int) -> None:
    """Raises an InputError if one of `count` outputs would replace a file that is read."""
    inputs = [request.video, flags.FLAGS.script, *request.speakers, request.speaker]
    inputs += [request.edit.keep, request.prompt and request.prompt.audio]
    known = {resolve(path) for path in inputs if path is not None}
    stems = (*STEMS, ORIGINAL) if flags.FLAGS.stems else ()
    outputs = [name_table(out)] if count > 1 else []
    for place in range(1, count + 1):
        outputs += list_files(name_candidate(out, place), stems, flags.FLAGS.times_out)
    for path in outputs:
        if resolve(path) in known:
            raise InputError(
                f"--out={out}: found {path}, which would be written, among the inputs, "
                "expected another name"
            )


def name_table(out: Path) -> Path:
    """The file with the scores of several candidates."""
    return out.with_suffix(".candidates.csv")


def format_candidates(out: Path, outputs: Sequence[Output]) -> str:
    """A table (CSV) of candidates, best first: file, seed, scores, what was recognized."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "seed", *SCORES, "transcript"))
    for place, output in enumerate(outputs, 1):
        report = output.report
        scores = [report["scores"].get(name) for name in SCORES]
        cells = ["" if score is None else f"{score:.4f}" for score in scores]
        transcript = " / ".join(report["transcripts"])
        writer.writerow((name_candidate(out, place).name, report["seed"], *cells, transcript))
    return text.getvalue()


def name_candidate(out: Path, place: int) -> Path:
    """The file of the output at a place, from 1, the best one: out.mp4, out.2.mp4, …"""
    return out if place == 1 else out.with_suffix(f".{place}{out.suffix}")


def print_warnings(warnings: Sequence[str], shown: Set[str]) -> Set[str]:
    """Prints the warnings that were not shown before, a line each; returns those shown by now."""
    for warning in warnings:
        if warning not in shown:
            print(f"warning: {warning}", file=sys.stderr)
    return shown | set(warnings)


def describe(report: Mapping) -> str:
    """A line about an output: duration, conditions, scores."""
    used, missing = (", ".join(report[key]) or "none" for key in ("used", "missing"))
    scores = ", ".join(f"{name} {value:.2f}" for name, value in report.get("scores", {}).items())
    parts = [f"{report['duration']:.2f} s", f"conditions used: {used}", f"not used: {missing}"]
    parts += [f"phoneme times: {report['times']}"] if report["times"] else []
    parts += ["voice: that of the kept words"] if report.get("voice") == KEPT_VOICE else []
    spans = ", ".join(f"{start:.2f} to {end:.2f} s" for start, end in report.get("generated", ()))
    parts += [f"generated anew: {spans or 'nothing'}"] if "generated" in report else []
    if "draws" in report:
        parts += [f"best of {report['draws']} loops drawn (--candidates=1 draws one)"]
    if "scores" in report:
        parts += [f"seed {report['seed']}", f"ranked by: {scores or 'nothing that applies'}"]
        parts += [f"heard: {text!r}" for text in report["transcripts"]]
    return "; ".join(parts)


def sampling_options() -> SamplingOptions:
    """The sampling options of the flags."""
    return SamplingOptions(
        scales=parse_scales(flags.FLAGS.scales),
        **{name: flags.FLAGS[name].value for name in SAMPLING},
    )


def parse_voices(items: Sequence[str]) -> dict[str, str]:
    """Audio files by the names of their speakers, from items such as Anna=anna.wav."""
    return parse_pairs(items, "--voice", "NAME=FILE such as Anna=anna.wav")


def sample_split(generator: Generator, folder: Path, split: str, out: Path) -> None:
    """Generates a wav for each example of a split, and at the end `manifest.csv`."""
    check_writable(out / "manifest.csv")
    records, options = shards.open_split(folder, split), sampling_options()
    generator.check_shards(folder)
    origin = describe_origin({MODEL: generator.model_hash, "seed": flags.FLAGS.seed})
    print_warnings(options.resolve(generator.config).warnings, set())
    rows = []
    for first in tqdm(range(0, len(records), CHUNK), desc="sample", unit="chunk"):
        chunk = [records[row] for row in range(first, min(first + CHUNK, len(records)))]
        waves = generate_chunk(generator, chunk, options)
        for record, wave in zip(chunk, waves, strict=True):
            meta = record["meta"]
            name = f"{meta['id']}.wav"
            media.write_wav(out / name, wave, generator.codec.sample_rate, origin)
            rows.append((meta["id"], name, meta.get("text", ""), split, meta["task"]))
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("id", "audio", "text", "split", "task"), *rows])
    write_text(out / "manifest.csv", table.getvalue())
    print(f"{out}: {len(rows)} clips")


def generate_chunk(
    generator: Generator, chunk: Sequence[Mapping], options: SamplingOptions
) -> list[np.ndarray]:
    """Waveforms of shard records; an interrupt ends it between two solver steps."""
    return BackgroundGeneration(
        lambda report: generator.generate_batch(
            chunk, seed=flags.FLAGS.seed, options=options, progress=report
        )
    ).wait()


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("workdir", bundled.DEFAULT, bundled.WORKDIR_HELP)
    command_line.define_path("video", None, "Video to generate sound for.")
    flags.DEFINE_string("text", None, "What is said.")
    flags.DEFINE_enum("text_policy", REFUSE, POLICIES, "For characters that cannot be read.")
    command_line.define_path(
        "script", None, "Subtitles (.srt, .vtt, .ass), or a table (.csv): start,end,text,speaker."
    )
    flags.DEFINE_multi_string(
        "voice", [], "A speaker of --script and a recording: Anna=anna.wav; repeatable."
    )
    flags.DEFINE_float("speech_start", None, "Seconds at which speech starts.")
    flags.DEFINE_float("speech_end", None, "Seconds at which speech ends.")
    command_line.define_path("speaker", None, "Audio file with the voice to imitate.")
    flags.DEFINE_integer(
        "audio_track",
        None,
        "Audio track of the voice's file, from 1; default: the file's default one.",
        lower_bound=1,
    )
    flags.DEFINE_string("task", None, "speech: leaves out other sounds of the video.")
    flags.DEFINE_float("duration", None, "Seconds of sound; default: the video's.")
    command_line.define_path("keep", None, "Sound that is kept but for the spans of --redo.")
    flags.DEFINE_list(
        "redo", None, "Spans of --keep to generate anew, in seconds, such as 2.0:3.5,6:7 or 8: ."
    )
    flags.DEFINE_string("redo_text", None, "What is said in the span of --redo instead.")
    flags.DEFINE_bool("loop", False, "Make the end of the clip join its start.")
    command_line.define_path(
        "prompt_audio", None, "Recording of a voice that the speech goes on from."
    )
    flags.DEFINE_string("prompt_text", None, "What is said in --prompt_audio.")
    flags.DEFINE_integer("seed", 0, "Of the noise.")
    flags.DEFINE_list("seeds", [], "Several, as one batch: an output each, best first.")
    flags.DEFINE_integer("steps", None, "Solver steps; default: the run's.")
    flags.DEFINE_string("solver", None, "Solver; default: the run's.")
    flags.DEFINE_string("grid", None, GRID_HELP)
    flags.DEFINE_float("guidance", None, "Guidance scale; default: the run's.")
    flags.DEFINE_float("guidance_start", None, "Flow time from which on guidance acts.")
    flags.DEFINE_float("guidance_stop", None, "Flow time up to which guidance acts.")
    flags.DEFINE_float("apg_eta", None, "Projected guidance: parallel share, such as 0.5.")
    flags.DEFINE_float("apg_momentum", None, "Projected guidance: momentum, such as -0.3.")
    flags.DEFINE_string("joint", None, JOINT_HELP)
    flags.DEFINE_float("speech_level", None, SPEECH_LEVEL_HELP)
    flags.DEFINE_float("sound_level", None, SOUND_LEVEL_HELP)
    flags.DEFINE_float("speech_audibility", None, SPEECH_AUDIBILITY_HELP)
    flags.DEFINE_list("scales", [], SCALES_HELP)
    flags.DEFINE_string("precision", None, PRECISION_HELP)
    flags.DEFINE_bool("stems", False, "Write speech alone and sound alone as well.")
    flags.DEFINE_list(
        "times_out",
        [],
        f"Times of the words, beside the output or in it: some of {', '.join(TIME_FORMATS)}.",
    )
    flags.DEFINE_enum("mix", REPLACE, MIXES, "What becomes of the video's own sound.")
    flags.DEFINE_float("original_level", 0.0, "Decibels of the video's own sound (--mix).")
    flags.DEFINE_float("generated_level", 0.0, "Decibels of the generated sound.")
    flags.DEFINE_float(
        "duck_level", -12.0, "Decibels of the video's own sound while somebody speaks (--mix=duck)."
    )
    flags.DEFINE_float(
        "loudness", None, "Loudness of the result in LUFS, such as -23 (EBU R 128); default: as is."
    )
    command_line.define_path(
        "c2pa_certificates", None, "Signs the output (C2PA): certificates, PEM; with --c2pa_key."
    )
    command_line.define_path("c2pa_key", None, "Private key of the first certificate, PEM.")
    flags.DEFINE_integer("candidates", 1, "Outputs to generate and write, best first.")
    flags.DEFINE_string(
        "recognizer",
        None,
        "Of speech, for several candidates: pocketsphinx (default) or whisper:MODEL.",
    )
    command_line.define_path("shards", None, "Shards to generate a split of.")
    flags.DEFINE_string("split", "test", "Split of --shards.")
    command_line.define_path("out", None, "File to write (.mp4, .wav), or with --shards a folder.")


def main() -> None:
    """Flags in, sound out."""
    if flags.FLAGS.out is None:
        raise InputError("--out: found nothing, expected a file such as out.mp4 or out.wav")
    check_flags()
    # Imported here, so that --help and mistakes in the flags do not wait for JAX.
    from vssflow_jax.generation.generator import Generator

    generator = Generator.from_workdir(flags.FLAGS.workdir, precision=flags.FLAGS.precision)
    if flags.FLAGS.shards is None:
        sample_one(generator, to_path(flags.FLAGS.out))
    else:
        folder, out = to_path(flags.FLAGS.shards), to_path(flags.FLAGS.out)
        sample_split(generator, folder, flags.FLAGS.split, out)


if __name__ == "__main__":
    command_line.run(main, define_flags)
