"""The condition table and its routes: widths, and mistakes that must not pass."""

import pytest

from vssflow_jax.conditions import NAMES, ROUTES, Route, num_frames, num_latent_frames

# Input and context widths of every recipe, as published.
WIDTHS = {
    "joint": (1952, 768),
    "lip_sync": (1920, 800),
    "video_text": (928, 1792),
    "none": (128, 2592),
    "all_concat": (2720, 0),
}


@pytest.mark.parametrize("name", ROUTES)
def test_derived_widths(name):
    route = ROUTES[name]
    expected_input, expected_context = WIDTHS[name]
    assert route.input_width(128) == expected_input
    assert (route.context_width() if route.cross else 0) == expected_context
    assert sorted(route.used + route.off) == sorted(NAMES)


def test_overridden_width_counts():
    assert ROUTES["joint"].input_width(128, {"lips": 64}) == 1952 - 1024 + 64


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"cross": ("clip", "clip")}, "twice"),
        ({"cross": ("clip",), "concat": ("clip",)}, "twice"),
        ({"cross": ("smell",)}, "unknown"),
        ({"cross": ("clip",)}, "neither used nor listed"),
        ({"added": ("clip",), "off": ("speaker", "phonemes", "lips", "sync")}, "one token"),
        (
            {"concat": ("speaker",), "off": ("clip", "phonemes", "lips", "sync")},
            "aligned to the frames",
        ),
        (
            {"token": ("speaker",), "off": ("clip", "phonemes", "lips", "sync")},
            "needs conditions in `cross`",
        ),
    ],
)
def test_wrong_routes_are_errors(places, message):
    with pytest.raises(ValueError, match=message):
        Route(**places)


def test_frames():
    assert num_latent_frames(10) == 250
    assert num_frames("clip", 10) == 100
    assert num_frames("sync", 10) == 240
    assert num_frames("speaker", 10) == 1
    assert num_frames("sync", 4, 25) == 100
