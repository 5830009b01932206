"""Media for the tests of preparation, and shards made of them."""

import json

import numpy as np
import pytest
from helpers import fixtures
from helpers.manifests import GOOD, SENTENCE, TIMES, write_manifest

from vssflow_jax import media
from vssflow_jax.preparation.prepare import prepare
from vssflow_jax.text import alignment, phonemes


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder of media: good clips, a voice, an alignment, and broken files."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(4):
        fixtures.write_video(folder / f"{number}.mp4", 2.0, seed=number)
    fixtures.write_video(folder / "silent.mp4", 2.0, sound=False)
    fixtures.write_video(folder / "long.mp4", 5.0)
    media.write_wav(folder / "voice.wav", fixtures.make_tone(2.0, 150.0))
    media.write_wav(folder / "silence.wav", np.zeros(16_000, np.float32))
    alignment.write_alignment(folder / "0.csv", TIMES)
    spoken = [s for word in phonemes.pronounce(SENTENCE.split()) for s in word]
    alignment.write_alignment(folder / "long.csv", alignment.place_phonemes(spoken, 0.2, 4.9, {}))
    (folder / "text.mp4").write_text("not a film")
    (folder / "cut.mp4").write_bytes((folder / "0.mp4").read_bytes()[:1500])
    annotations = [
        {"id": "a", "mouth": [10, 10, 30, 30], "speaker": "v"},
        {"id": "long", "onsets": [1, 4]},
    ]
    lines = "\n".join(map(json.dumps, annotations))
    (folder / "annotations.jsonl").write_text(lines + "\n")
    return folder


@pytest.fixture(scope="session")
def prepared(corpus, tmp_path_factory):
    """The shards of GOOD and their dataset.json."""
    out = tmp_path_factory.mktemp("shards")
    info = prepare(write_manifest(corpus, GOOD), out, workers=0, clips_per_shard=2, progress=False)
    return out, info
