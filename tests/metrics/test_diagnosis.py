"""Kinds of errors, on a scene drawn so that each occurs, and what must hold for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import (
    CORRECT,
    ERRORS,
    ImageResult,
    Results,
    diagnose,
    errors_summary,
    parse_groups,
)
from scratchdet_caffe.metrics.similar import COCO, VOC, known_groups, similarity

CLASSES = ("background", "cat", "dog", "bus")
CAT, DOG, BUS = 1, 2, 3
HERE, THERE = [1, 1, 20, 20], [41, 41, 80, 80]


def image(detections: list[list[float]], truth: list[list[float]]) -> ImageResult:
    return ImageResult(
        "a", 100, 100,
        np.array(detections, float).reshape(-1, 6), np.array(truth, float).reshape(-1, 6),
    )  # fmt: skip


def scene() -> Results:
    """Each image has a cat, so that as many detections of cats are looked at."""
    lone = [CAT, 0, *HERE]
    return Results(
        CLASSES,
        [
            image([[CAT, 0.9, *HERE], [CAT, 0.85, 2, 1, 20, 20]], [lone]),  # correct, duplicate
            image([[CAT, 0.8, 1, 1, 20, 8]], [lone]),  # localisation
            image([[CAT, 0.7, *THERE]], [lone, [DOG, 0, *THERE]]),  # similar
            image([[CAT, 0.6, *THERE]], [lone, [BUS, 0, *THERE]]),  # other
            image([[CAT, 0.5, *THERE]], [lone]),  # background
            image([[CAT, 0.95, *THERE]], [[CAT, 1, *THERE]]),  # difficult: passed over
        ],
    )


def test_each_kind_once() -> None:
    groups = [["cat", "dog"]]
    found = diagnose(scene(), (25, 50), groups)
    # Five cats count, so the best five detections; the background one is the sixth.
    assert found.counts["cat"] == {
        CORRECT: 1, "duplicate": 1, "localisation": 1, "similar class": 1, "other class": 1,
        "background": 0,
    }  # fmt: skip
    kinds = {mistake.kind: mistake for mistake in found.mistakes if mistake.kind != "missed"}
    assert list(kinds) == ["duplicate", "localisation", "similar class", "other class"]
    assert kinds["localisation"].overlap == pytest.approx(8 / 20)
    assert kinds["similar class"].other == (DOG, tuple(map(float, THERE)))
    assert sum(found.shares.values()) == pytest.approx(1)
    without = diagnose(scene(), (25, 50), [])
    assert without.counts["cat"]["other class"] == 2
    assert "no classes are taken for similar" in errors_summary(without)["rule"]


def test_a_background_error_needs_nothing_near() -> None:
    results = Results(CLASSES, [image([[CAT, 0.5, *THERE]], [[CAT, 0, *HERE]])])
    (wrong, missed) = diagnose(results, (32, 96)).mistakes
    assert (wrong.kind, wrong.other, missed.kind, missed.box) == (
        "background", None, "missed", tuple(map(float, HERE)),
    )  # fmt: skip


def test_missed_objects_by_size() -> None:
    found = diagnose(scene(), (25, 50), [])
    # Cats of 20 pixels a side: five, of which one is found; dog and bus of 40, both missed.
    small, medium, large = found.misses.values()
    assert (small.objects, small.missed, small.missed_at_best) == (5, 4, 4)
    assert (medium.objects, medium.missed) == (2, 2)
    assert large.objects == 0
    largest = [mistake for mistake in found.mistakes if mistake.kind == "missed"][:2]
    assert {mistake.label for mistake in largest} == {DOG, BUS}


def test_missed_at_the_best_f1() -> None:
    """The second cat is found, but only after so many false alarms that one would not look."""
    alarms = [[CAT, 0.5 - i / 100, 31 + 5 * i, 61, 34 + 5 * i, 64] for i in range(9)]
    results = Results(
        CLASSES,
        [
            image([[CAT, 0.9, *HERE], *alarms, [CAT, 0.1, *THERE]], [[CAT, 0, *HERE]]),
            image([[CAT, 0.1, *HERE]], [[CAT, 0, *HERE]]),
        ],
    )
    small = diagnose(results, (32, 96)).misses["small"]
    assert (small.objects, small.missed, small.missed_at_best) == (2, 0, 1)


def test_known_sets_of_classes_bring_their_groups() -> None:
    voc = sorted({name for group in VOC for name in group})
    assert (len(voc), len({name for group in COCO for name in group})) == (20, 80)
    alike = similarity(voc, known_groups(voc))
    at = voc.index
    assert alike[at("cat"), at("person")] and alike[at("aeroplane"), at("bird")]
    assert not alike[at("bottle")].any() and not alike[at("bird"), at("car")]
    assert known_groups(["zebra", "tv"]) == COCO
    assert known_groups(["zebra", "wombat"]) == []
    assert similarity([], []).shape == (0, 0)


def test_groups_of_ones_own() -> None:
    assert parse_groups("cat, dog;bus", CLASSES[1:]) == [["cat", "dog"], ["bus"]]
    with pytest.raises(UserError, match="'dgo' is no class.*did you mean 'dog'"):
        parse_groups("cat,dgo", CLASSES[1:])


row = st.tuples(
    st.integers(1, 3), st.integers(0, 1), st.integers(1, 60), st.integers(1, 60),
    st.integers(2, 40), st.integers(2, 40),
).map(lambda r: [r[0], r[1], r[2], r[3], r[2] + r[4], r[3] + r[5]])  # fmt: skip
scored = st.tuples(row, st.floats(0.01, 1)).map(lambda pair: [pair[0][0], pair[1], *pair[0][2:]])
images = st.builds(image, st.lists(scored, max_size=6), st.lists(row, max_size=6))


@given(st.lists(images, min_size=1, max_size=3))
def test_counts_add_up(scenes: list[ImageResult]) -> None:
    results = Results(CLASSES, scenes)
    found = diagnose(results, (10, 30), [["cat", "dog"]])
    for name, (detections, truth) in results.by_class().items():
        total = sum(found.counts[name].values())
        assert total <= min(len(detections.score), (~truth.difficult).sum())
    errors = sum(found.totals[kind] for kind in ERRORS)
    assert len([m for m in found.mistakes if m.kind != "missed"]) == errors
    missed = [m for m in found.mistakes if m.kind == "missed"]
    assert len(missed) == sum(own.missed for own in found.misses.values())
    assert all(own.missed <= own.missed_at_best <= own.objects for own in found.misses.values())
