"""A generator without a model, for the page."""

import threading

import numpy as np

from vssflow_jax.config.fields import default_config
from vssflow_jax.generation.output import Output

RATE = 16_000


class NoiseGenerator:
    """Generates two seconds of noise in steps, and keeps its requests and options.

    Attributes:
      config: the page's defaults.
      requests: those it was asked.
      options: of the sampling, of each request.
      fractions: the progress that it reported.
      steps: how many it takes, each when `may_step` allows it.
    """

    encoder_set = "built-in"

    def __init__(self, steps=1):
        self.config = default_config()
        self.requests, self.options, self.fractions = [], [], []
        self.steps, self.may_step = steps, threading.Event()
        self.may_step.set()

    def generate(self, request, seed, options, *, stems, progress):
        """As that of the real one."""
        return self.generate_candidates(request, [seed], options, stems=stems, progress=progress)[0]

    def generate_candidates(self, request, seeds, options, *, stems, progress):
        """As that of the real one."""
        self.requests.append(request)
        self.options.append(options)
        for number in range(1, self.steps + 1):
            assert self.may_step.wait(60)
            fraction = number / (self.steps + 1)
            progress(fraction)
            self.fractions.append(fraction)
        rng = np.random.default_rng(0)
        wave = rng.uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)
        report = {
            "duration": 2.0, "used": ["clip"], "missing": ["lips"], "warnings": ["slow"],
            "scores": {},
            "alignment": [[0.5, 1.0, "AH0"]], "spans": [[0.5, 1.0]] * len(request.script),
        }  # fmt: skip
        both = request.video and request.script
        stems = {"speech": wave, "sound": wave} if both else {}
        return [Output(wave, RATE, report | {"seed": seed}, request.video, stems) for seed in seeds]
