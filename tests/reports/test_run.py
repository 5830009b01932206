"""The report stands alone, shows what the run has, and says what it does not have."""

import base64
import csv
import io
import json
import re
import shlex

import numpy as np
import pytest
from helpers import in_process
from helpers.fixtures import make_tone
from helpers.html_pages import HOSTILE, Page, add_hostile_values, assert_self_contained
from PIL import Image

from vssflow_jax import media
from vssflow_jax.codecs.interface import save_codec
from vssflow_jax.codecs.pca import fit_pca
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import hash_file
from vssflow_jax.config import fields, load_recipe, rules
from vssflow_jax.data import shards
from vssflow_jax.reports import examples
from vssflow_jax.reports.run import describe_sampling, make_commands, write_report

SECONDS = 1.0
CLIPS = 7  # a task; more than are shown
MARKS = [[0.1, 0.3, "B"], [0.3, 0.6, "IH1"], [0.6, 0.9, "N"]]


def write_shards(folder, rng, suffix=""):
    """A test split of every task; its record k has an event and three phonemes.

    `suffix` ends every string; ids, which are names of files, have what is before its first /.
    """
    ending = suffix.partition("/")[0]
    folder.mkdir()
    with shards.open_shard_writer(folder / "test.array_record") as add:
        for task in ("speech", "sound", "joint"):
            for number in range(CLIPS):
                meta = {"id": f"{task}-{number}{ending}", "task": task, "duration": SECONDS}
                meta["annotation"] = {"onsets": [0.5], "sound_class": "wood" + suffix}
                if task != "sound":
                    meta |= {"text": "bin" + suffix, "alignment": MARKS}
                wave = media.to_int16(make_tone(SECONDS, 200 + 50 * number))
                clip = rng.uniform(-1, 1, (10, 768)).astype(np.float16)
                add({"wave": wave, "clip": clip, "meta": meta})
    split = {"files": ["test.array_record"], "silent": [], "clips": 3 * CLIPS}
    split["bytes"] = [(folder / "test.array_record").stat().st_size]
    split["sha256"] = [hash_file(folder / "test.array_record")]
    split["tasks"] = {task + suffix: CLIPS for task in ("speech", "sound", "joint")}
    info = {
        "version": shards.VERSION,
        "features": {},
        "statistics": {},
        "hash": "",
        "sample_rate": 16_000,
    }
    info["splits"] = {"test": split, "train": split}
    (folder / "dataset.json").write_text(json.dumps(info))


def write_scores(workdir, tasks, suffix=""):
    """eval/: scores, lines, generated waves; with a suffix also those through the codec."""
    ending = suffix.partition("/")[0]
    scores = {"wer": 0.25, "wer_ci95": [0.2, 0.3], "wer_floor": 0.125, "clips": CLIPS}
    scores["wer_ceiling"] = 0.0
    skipped = [{"id": "speech-9", "reason": HOSTILE}]
    metrics = {task: {**scores, "skipped": skipped} for task in tasks}
    metrics["run"] = {"checkpoint": 6, "solver": "euler", "steps": 2, "seed": 0, "guidance": []}
    (workdir / "eval").mkdir(exist_ok=True)
    (workdir / "eval" / "metrics.json").write_text(json.dumps(metrics))
    with (workdir / "eval" / "examples.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("task", "id", "text", "hypothesis", "errors", "words"))
        for task in tasks:
            for number in range(CLIPS):
                name = f"{'speech' if task == 'text' else task}-{number}{ending}"
                errors = f"1{suffix}"
                writer.writerow((task, name, "bin", HOSTILE, errors, errors))
                for folder in (f"generated/{task}", *(("floor",) if suffix else ())):
                    path = workdir / "eval" / folder / f"{name}.wav"
                    media.write_wav(path, make_tone(SECONDS, 300))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder as training and evaluation leave it."""
    workdir, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    write_shards(workdir / "shards", rng)
    config = load_recipe("grid")
    config.data.shards = str(workdir / "shards")
    (workdir / "config.json").write_text(config.to_json())
    lines = [
        {"step": step, "loss": 2 / step, "grad_norm": 1.0, "learning_rate": 1e-3, "seconds": 65.0}
        for step in range(1, 9)
    ]
    log = "".join(json.dumps(line) + "\n" for line in lines)
    (workdir / "metrics.jsonl").write_text(log + '{"step": 9, "lo')
    (workdir / "statistics.json").write_text(json.dumps({"phoneme_durations": {"B": 0.05}}))
    save_codec(fit_pca([rng.normal(0, 0.1, 180_000).astype(np.float32)], 16), workdir / "codec")
    write_scores(workdir, ("speech", "sound", "joint", "text"))
    return workdir


@pytest.fixture(scope="module")
def text(run):
    return write_report(run).read_text(encoding="utf-8")


def test_the_file_is_self_contained(text):
    assert not re.search(r"https?:", re.sub(r'"data:[^"]*"', '""', text))
    assert_self_contained(text)
    assert "url(" not in text and "@import" not in text


def test_every_clip_has_three_players_and_two_spectrograms(text):
    articles = Page(text).articles
    assert len(articles) == 4 * examples.NUM_EXAMPLES
    for number, tags in enumerate(articles):
        alts = [attributes["alt"] for tag, attributes in tags if tag == "img"]
        assert sum(tag == "audio" for tag, _ in tags) == 3
        assert sum(alt.startswith("Log-mel spectrogram") for alt in alts) == 2
        with_video = number < 3 * examples.NUM_EXAMPLES
        assert sum("pictures of" in alt for alt in alts) == with_video


def test_images_and_players_have_names_and_the_page_a_language(text):
    tags = Page(text).tags
    assert dict(tags)["html"] == {"lang": "en"}
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in tags if tag == "audio")
    assert [tag for tag, _ in tags].count("h1") == 1


def test_transcripts_and_reasons_are_escaped(text):
    shown = Page(text).text
    assert shown.count(f"heard “{HOSTILE}”, 1 of 1 words wrong") == 4 * examples.NUM_EXAMPLES
    assert f"speech-9: {HOSTILE}" in shown


def test_every_string_of_a_runs_files_is_escaped(tmp_path):
    """Of config, codec, log, scores, table and shards, and the name of the folder."""
    workdir = tmp_path / "<script>alert(1)"
    workdir.mkdir()
    write_shards(workdir / "shards", np.random.default_rng(0), suffix=HOSTILE)
    config = load_recipe("grid")
    free = [
        field.name for field in fields.FIELDS if field.type is str and field.allowed is rules.ANY
    ]
    config.update_from_flattened_dict(dict.fromkeys(free, HOSTILE))
    config.data.shards = str(workdir / "shards")
    (workdir / "config.json").write_text(config.to_json())
    (workdir / "codec").mkdir()
    (workdir / "codec" / "codec.json").write_text(json.dumps({"kind": HOSTILE}))
    (workdir / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 1.0, HOSTILE: HOSTILE}))
    write_scores(workdir, ("speech",), suffix=HOSTILE)
    metrics = json.loads((workdir / "eval" / "metrics.json").read_text())
    metrics["speech"] |= {HOSTILE: 1.0, f"{HOSTILE}_ci95": [0.0, 1.0]}
    metrics["run"] = add_hostile_values(metrics["run"]) | {
        "solver": HOSTILE,
        "guidance": [[HOSTILE, 1.0]],
    }
    (workdir / "eval" / "metrics.json").write_text(json.dumps(metrics))
    text = write_report(workdir).read_text(encoding="utf-8")
    assert_self_contained(text)
    page = Page(text)
    assert f"7 speech{HOSTILE}" in page.text and f"Codec: {HOSTILE}" in page.text
    assert f"with {HOSTILE}," in page.text
    assert len(page.articles) == examples.NUM_EXAMPLES
    for part in ("said: “bin", "events: wood", "1", "of 1"):
        assert page.text.count(part + HOSTILE) >= examples.NUM_EXAMPLES


def test_scores_have_interval_and_floor(text):
    cells = re.findall(r"<td>(.*?)</td>", text)
    assert cells == ["25.0 %", "20.0 to 30.0", "12.5 %", "0.0 %"] * 4


def test_the_open_recognizer_has_rows_where_it_was_used(run, text, tmp_path):
    assert "open recognizer" not in Page(text).text
    for name in ("config.json", "codec"):
        (tmp_path / name).symlink_to(run / name)
    write_scores(tmp_path, ("speech",))
    path = tmp_path / "eval" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["speech"] |= {"wer_open": 0.5, "wer_open_ci95": [0.4, 0.6], "wer_open_ceiling": 0.1}
    metrics["speech"] |= {"wer_open_ceiling_ci95": [0.0, 0.2]}
    names = {"recognizer": "whisper:/home/me/tiny.en", "open_recognizer": HOSTILE}
    metrics["run"] |= {key: {"name": name} for key, name in names.items()}
    path.write_text(json.dumps(metrics))
    text = write_report(tmp_path).read_text()
    cells = re.findall(r"<td>(.*?)</td>", text)
    assert cells[4:] == ["50.0 %", "40.0 to 60.0", "-", "10.0 % <small>0.0 to 20.0</small>"]
    shown = Page(text).text
    assert "Word error rate, open recognizer" in shown
    assert f"Recognizer: whisper:tiny.en; open recognizer: {HOSTILE}." in shown


def test_sentences_have_a_table_for_each_voice(run, text, tmp_path):
    assert "Sentences" not in Page(text).text
    for name in ("config.json", "codec"):
        (tmp_path / name).symlink_to(run / name)
    scores = {"wer": 0.25, "wer_ci95": [0.2, 0.3], "wer_ceiling": 0.01, "clips": 40}
    sampling = {"checkpoint": 6, "solver": "euler", "steps": 2, "seed": 0, "guidance": []}
    metrics = {
        "text": scores | {"clips": 80},
        "voices": {"heart": scores, HOSTILE: scores},
        "run": {
            "sentences": {"name": "test", "number": 40},
            "speakers": ["heart", HOSTILE],
            "recognizer": {"name": "whisper:folder"},
            "date": "2026-11-26",
            **sampling,
        },
    }
    path = tmp_path / "eval" / "sentences" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(metrics))
    text = write_report(tmp_path).read_text()
    assert_self_contained(text)
    shown = Page(text).text
    for part in ("All voices", "Voice heart", f"Voice {HOSTILE}", "Recognizer: whisper:folder."):
        assert part in shown
    assert re.findall(r"<td>(.*?)</td>", text) == ["25.0 %", "20.0 to 30.0", "-", "1.0 %"] * 3


def test_the_paragraph_says_how_long_it_trained_and_on_what(text):
    steps = load_recipe("grid").train.steps
    assert f"8 of {steps:,} steps in 1 min 5 s" in text
    assert "21 clips (7 speech, 7 sound, 7 joint)" in text


def test_what_is_missing_is_said(run, tmp_path):
    for name in ("config.json", "codec"):
        (tmp_path / name).symlink_to(run / name)
    shown = Page(write_report(tmp_path).read_text()).text
    assert "no curves" in shown and "not been scored" in shown and "No clips" in shown
    write_scores(tmp_path, ("speech",))
    page = Page(write_report(tmp_path).read_text())
    assert len(page.articles) == examples.NUM_EXAMPLES
    assert "Not scored: sound, both at once, speech without video." in page.text


def test_shards_that_are_gone_do_not_stop_it(run, tmp_path):
    for name in ("codec", "eval", "metrics.jsonl"):
        (tmp_path / name).symlink_to(run / name)
    config = json.loads((run / "config.json").read_text())
    config["data"]["shards"] = str(tmp_path / "gone")
    (tmp_path / "config.json").write_text(json.dumps(config))
    page = Page(write_report(tmp_path).read_text())
    assert "No clips are shown" in page.text and not page.articles
    assert page.text.count("95 % interval") == 4


def test_a_damaged_checkpoint_is_one_line(run, tmp_path):
    for name in ("codec", "config.json"):
        (tmp_path / name).symlink_to(run / name)
    weights = tmp_path / "checkpoints" / "6" / "weights"
    weights.mkdir(parents=True)
    (weights / "_METADATA").write_text("junk")
    with pytest.raises(InputError, match=f"^{weights}: damaged or incomplete"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_where_out_says(run, tmp_path):
    path = tmp_path / "new" / "page.html"
    before = write_report(run).stat().st_mtime_ns
    done = in_process.run("report", f"--workdir={run}", f"--out={path}")
    assert done.returncode == 0 and done.stdout == f"report: {path}\n"
    assert "95 % interval" in Page(path.read_text()).text
    assert (run / "report.html").stat().st_mtime_ns == before
    done = in_process.run("report", f"--workdir={run}", f"--out={tmp_path}")
    in_process.assert_error(done, f"--out={tmp_path}: found a folder, expected a file's name")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected --workdir=RUN or --video=in.mp4"),
        (("--clip=a",), "expected --workdir=RUN or --video=in.mp4"),
        (("--workdir=RUN", "--split=valid"), "--split: found beside --workdir, expected some of"),
        (("--workdir=RUN", "--face=1,2"), "--face: found beside --workdir"),
        (("--workdir=RUN", "--video=in.mp4"), "--workdir: found beside --video"),
    ],
)
def test_flags_of_another_report_are_named(arguments, message):
    in_process.assert_error(in_process.run("report", *arguments), message)


def test_pictures_are_data(text):
    kinds = re.findall(r"data:(image/\w+|audio/mpeg);base64,([A-Za-z0-9+/=]+)", text)
    assert {kind for kind, _ in kinds} == {"image/png", "image/jpeg", "audio/mpeg"}
    for kind, data in kinds:
        if kind.startswith("image"):
            Image.open(io.BytesIO(base64.b64decode(data))).verify()


def test_the_sampling_of_a_student_is_described():
    run = {"steps": 4, "guidance": [[["clip"], 2.0]], "grid": [0.0, 0.25, 1.0]}
    run["student"] = {"evaluations": [1, 4], "scales": [1.0, 3.5]}
    fields = describe_sampling(run)
    assert fields["grid"] == "0, 0.25, 1"
    assert fields["student"] == "1, 4 steps and guidance scales from 1 to 3.5"
    plain = describe_sampling({"steps": 4, "grid": "uniform"})
    assert (plain["grid"], plain["student"]) == (None, None)


def test_commands_name_a_video_and_a_text_of_the_run(tmp_path):
    assert "--video=in.mp4" in make_commands(tmp_path)[0][1]
    name, text = "joint-00003", "My brother's hat fell off."
    for path in (f"corpus/videos/{name}.mp4", f"eval/generated/joint/{name}.wav"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    (tmp_path / "eval" / "examples.csv").write_text(f"task,id,text\njoint,{name},{text}\n")
    commands = [shlex.split(command) for _, command in make_commands(tmp_path)]
    assert f"--video={tmp_path}/corpus/videos/{name}.mp4" in commands[0]
    assert all(f"--text={text}" in command for command in commands)
