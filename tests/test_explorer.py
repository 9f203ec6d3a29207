"""Explorers: sliders joined to frames without a kernel, and the small charts in the frames."""

import base64
import html
import io
import json
import re
import xml.etree.ElementTree as ElementTree

import ipywidgets as widgets
import numpy as np
import pytest
import yaml
from conftest import REPOSITORY
from PIL import Image
from scipy import fft

from wlib import free, mda, mge, plot
from wlib.book import parameters
from wlib.core import score, train
from wlib.data import load
from wlib.free import pipeline, teachers
from wlib.mda import cutting, sources, wiring
from wlib.plot import explore
from wlib.plot.mda_explorer import strips

NAME, CUT, RECOVERY = "11-mge-generate", "21-mda-disassemble", "31-free-recover"


def frames(energies=(0.5, 0.9, 0.99)):
    """What the explorer of MGE shows, of no network at all."""
    random = np.random.default_rng(0)
    parent, c = random.normal(size=200), random.normal(size=50)
    return parent, [{"energy": t, "child": parent + 0.1, "coefficients": c, "kept": c > 0,
                     "drawn": c[::-1], "ks": 0.0123,
                     "accuracy": {"energy": 0.9, "noise": 0.8, "noise-norm": t}}
                    for t in energies]


# ---- the controls -------------------------------------------------------------------------------
def test_a_slider_chooses_its_frame_by_a_link_that_needs_no_kernel():
    seen = []
    box = explore.explorer({"energy": [0.5, 0.9, 0.95]}, lambda t: seen.append(t) or f"<p>{t}</p>",
                           start=[1])
    slider, stack = box.children
    assert seen == [0.5, 0.9, 0.95]
    assert [child.value for child in stack.children] == ["<p>0.5</p>", "<p>0.9</p>", "<p>0.95</p>"]
    assert (slider.index, stack.selected_index, slider.value) == (1, 1, "0.9")
    links = joins(slider)
    assert [link.target for link in links] == [(stack, "selected_index")]


def joins(slider):
    """The browser's own links that start at a slider."""
    from ipywidgets.widgets.widget import _instances
    return [widget for widget in _instances.values()
            if isinstance(widget, widgets.widget_link.Link) and widget.source == (slider, "index")]


def test_two_sliders_choose_among_all_combinations():
    box = explore.explorer({"a": [1, 2], "b": ["x", "y", "z"]}, lambda a, b: f"<p>{a}{b}</p>")
    first, second, outer = box.children
    assert [[leaf.value for leaf in inner.children] for inner in outer.children] == [
        [f"<p>{a}{b}</p>" for b in "xyz"] for a in (1, 2)]
    assert [link.target[0] for link in joins(first)] == [outer]
    assert [link.target[0] for link in joins(second)] == list(outer.children)


@pytest.mark.parametrize("controls, start, words", [
    ({}, None, "controls: got .* one to three names"), ([1, 2], None, "controls: got"),
    ({"t": [1]}, None, r"controls\['t'\]: got .* at least two positions"),
    ({"t": [1, 1]}, None, r"controls\['t'\]: got .* distinct positions"),
    ({"t": [1, 2]}, [2], "start: got"), ({"t": [1, 2]}, [0, 0], "start: got")])
def test_wrong_controls_are_refused(controls, start, words):
    with pytest.raises(ValueError, match=words):
        explore.explorer(controls, str, start=start)


def test_frames_too_heavy_for_a_page_are_refused():
    with pytest.raises(ValueError, match="frame: got .2 frames of .* fewer positions"):
        explore.explorer({"t": [1, 2]}, lambda t: "x" * explore.LIMIT)


# ---- the charts ---------------------------------------------------------------------------------
def chart():
    made = explore.Chart("A <title>", (0, 10), (-1, 1), xlabel="x", ylabel="y", percent=True)
    made.stems([1, 2], [0.5, -0.5], "#123456", "stems")
    made.line([0, 10], [-1, 1], "#654321", "line", dashes="2 2")
    made.steps([0, 5, 10], [0.1, 0.2], "#111111", "steps", filled=True)
    made.dot(5, 0, "#222222")
    return made


def test_a_chart_is_an_image_with_its_finding_for_those_who_do_not_see_it():
    tree = ElementTree.fromstring(chart().svg("It rises by 5 % & stays < 10 %."))
    assert tree.get("role") == "img"
    assert tree.get("aria-label") == "It rises by 5 % & stays < 10 %."
    words = [element.text for element in tree.iter("text")]
    assert {"A <title>", "x", "y", "stems", "line", "steps", "0%", "100%"} <= set(words)
    assert "-0%" not in words
    with pytest.raises(ValueError, match="alt: got .* a sentence with the finding"):
        chart().svg("A chart.")


def test_a_chart_puts_its_limits_on_its_edges():
    made = chart()
    assert made.across([0, 10]).tolist() == [made.LEFT, made.RIGHT]
    assert made.up([-1, 1]).tolist() == [made.BOTTOM, made.TOP]
    assert f"M{made.LEFT}.0 {made.BOTTOM}.0L{made.RIGHT}.0 {made.TOP}.0" in "".join(made.parts)


def test_tiles_are_one_pixel_per_weight():
    made = explore.Chart("Kernels")
    made.tiles([[[-1.0, 0.0], [0.0, 1.0]]] * 3, 40, 1.0, "seed")
    data = re.search(r"base64,([^']+)", made.parts[-1])[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert pixels.shape == (2, 3 * 3 - 1, 4)
    assert pixels[0, 2, 3] == 0 and pixels[0, 0, 3] == 255        # clear between the kernels
    assert pixels[0, 0, 2] > pixels[0, 0, 0] and pixels[1, 1, 0] > pixels[1, 1, 2]


# ---- the explorer of MGE ------------------------------------------------------------------------
def test_each_frame_of_mge_has_four_pictures_and_its_numbers():
    parent, given = frames()
    slider, stack = plot.mge_explorer(parent, (2, 1, 5, 5), given, images=60, draws=2).children
    assert slider.options == ("0.5", "0.9", "0.99")
    for frame, child in zip(given, stack.children, strict=True):
        pictures = re.findall(r"<svg.*?</svg>", child.value)
        alts = [ElementTree.fromstring(picture).get("aria-label") for picture in pictures]
        assert len(alts) == len(set(alts)) == 4
        assert f"norm {frame['accuracy']['noise-norm']:.0%}" in alts[3]
        caption = re.search(r"<p class[^>]*>(.*)</p>", child.value)[1]
        assert caption.startswith(f"Energy kept {frame['energy']:g}: ")
        assert "of 50 coefficients" in caption and "90% right" in caption and "0.012" in caption


# ---- the explorer of E-MGE ----------------------------------------------------------------------
def generations(count=3, networks=4, images=30):
    """What the explorer of E-MGE shows, of no network at all."""
    random = np.random.default_rng(1)
    steps = []
    for number in range(count):
        errors = random.random((networks, images)) < 0.3
        errors[:, 0] = True                                   # an image that nobody gets right
        steps.append({"errors": errors, "accuracy": 1 - errors.mean(1),
                      "diversity": random.random(networks), "fitness": random.random(networks),
                      "new": [number == 0, True, False, False], "evaluations": 10 * number + 4})
    return steps, {"E-MGE": [0.7, 0.8, 0.9][:count], "noise evolution": [0.6, 0.65, 0.7][:count]}


def test_each_generation_has_four_pictures_and_its_numbers():
    steps, lines = generations()
    slider, stack = plot.evolution_explorer(steps, lines, images=30, seed_accuracy=0.65).children
    assert slider.options == ("0", "1", "2")
    for number, (step, child) in enumerate(zip(steps, stack.children, strict=True)):
        pictures = re.findall(r"<svg.*?</svg>", child.value)
        trees = [ElementTree.fromstring(picture) for picture in pictures]
        alts = [tree.get("aria-label") for tree in trees]
        assert len(set(alts)) == 4
        assert f"{step['accuracy'].max():.1%}" in alts[0] and "65.0%" in alts[0]
        assert len(list(trees[0].iter("circle"))) == len(step["accuracy"])
        everyone = int(step["errors"].all(0).sum())
        assert f"Of all images {everyone} are wrong for the whole population" in alts[1]
        assert f"{step['fitness'].mean():.3f}" in alts[2]
        assert f"noise evolution {lines['noise evolution'][number]:.1%}" in alts[3]
        caption = re.search(r"<p class[^>]*>(.*)</p>", child.value)[1]
        assert caption.startswith(f"Generation {number}, {step['evaluations']} networks judged")
        assert f"all get {everyone} images wrong" in caption
        born = "first population" if number == 0 else "1 of 4 are new"
        assert born in caption


def test_only_images_on_which_networks_disagree_are_drawn():
    steps, lines = generations()
    often = np.concatenate([step["errors"] for step in steps]).mean(0)
    disputed = int(((often > 0) & (often < 1)).sum())
    frame = plot.evolution_explorer(steps, lines, images=30, seed_accuracy=0.65).children[1]
    assert f"{disputed} images that only some networks get right" in frame.children[0].value
    few = plot.evolution_explorer(steps, lines, images=30, seed_accuracy=0.65, shown=5)
    assert "Who errs on which of 5 images" in few.children[1].children[0].value


def test_a_chart_that_counts_has_whole_ticks():
    made = explore.Chart("Counts", (-0.3, 2.3), (0.784, 0.791), percent=True, whole=True)
    tree = ElementTree.fromstring(made.svg("It counts to two here."))
    words = [element.text for element in tree.iter("text")]
    assert {"0", "1", "2", "78.4%"} <= set(words) and "0.5" not in words


# ---- the explorer of MDA ------------------------------------------------------------------------
def lit_parts(starts=(0, 2), counts=(1, 3), classes=4, widths=(5, 600)):
    """What the explorer of MDA shows, of no network at all."""
    random, found = np.random.default_rng(2), {}
    for first in starts:
        for count in counts:
            lit = {f"conv{n}": random.random(width) < 0.6 for n, width in enumerate(widths)}
            found[first, count] = {
                "classes": sorted((first + k) % classes for k in range(count)), "stays": lit,
                "every": random.random(classes).tolist(), "weights": 0.25, "pruned": 0.875,
                "restricted": 0.9375}
    return found


def test_each_part_shows_its_channels_and_what_it_knows():
    given, names = lit_parts(), ("A", "B", "<", "truck")
    *sliders, outer = plot.mda.mda_explorer(given, names, starts=(0, 2), counts=(1, 3),
                                            images=80).children
    assert [slider.options for slider in sliders] == [("A", "<"), ("1", "3")]
    for (first, count), part in given.items():
        frame = outer.children[(0, 2).index(first)].children[(1, 3).index(count)].value
        strips, known = map(ElementTree.fromstring, re.findall(r"<svg.*?</svg>", frame))
        small, wide = part["stays"].values()
        assert f"conv0 {small.sum()} of 5, conv1 {wide.sum()} of 600" in strips.get("aria-label")
        assert f"A {part['every'][0]:.0%}" in known.get("aria-label")
        assert [text.get("font-weight") for text in known.iter("text") if text.text in
                ("A", "B", "<", "tru")] == ["700" if c in part["classes"] else None
                                            for c in range(4)]
        caption = html.unescape(re.search(r"<p class[^>]*>(.*)</p>", frame)[1])
        own = " ".join(names[c] for c in part["classes"])
        assert caption.startswith(f"Part for {own}: {small.sum() + wide.sum()} of 605 channels")
        assert "25% of the weights" in caption and "gets 88%" in caption and "94%" in caption


def test_of_many_parts_every_other_start_is_shown():
    names = [chr(65 + k) for k in range(12)]
    starts, counts = range(12), range(1, 9)                                    # 96 parts
    given = lit_parts(starts, counts, classes=12, widths=(4,))
    first, second, frames = plot.mda.mda_explorer(given, names, starts=starts, counts=counts,
                                                  images=80, start=(7, 2)).children
    assert first.options == tuple(names[::2]) and first.index == 3 and second.index == 2
    assert len(frames.children) == 6 and len(frames.children[0].children) == 8
    assert "Part for G H I:" in frames.children[3].children[2].value


def test_a_strip_lights_as_many_squares_as_channels_stay():
    part = {"stays": {"a": np.array([1, 1, 0, 1, 0], bool), "b": np.zeros(8, bool)},
            "classes": [0]}
    tree = ElementTree.fromstring(strips(part))
    faint, lit = tree.iter("path")
    square, gap = map(float, faint.get("stroke-dasharray").split())

    def squares(path):
        """How many squares the runs of each row (y) have."""
        return [(y, round((float(run) + gap) / (square + gap)))
                for y, run in re.findall(r"M[\d.]+ ([\d.]+)h([\d.]+)", path.get("d"))]

    (a, five), (b, eight) = squares(faint)
    assert (five, eight) == (5, 8) and a != b
    assert squares(lit) == [(a, 2), (a, 1)]                    # nothing is lit in the second layer
    assert lit.get("stroke") == plot.METHOD and faint.get("stroke") == "currentColor"


def test_the_frames_of_a_large_network_fit_a_page():
    given = lit_parts(counts=(1, 2, 3), widths=[512] * 16)
    size = max(len(strips(part)) for part in given.values())
    assert size < 7000


def frames_of(name):
    """The frames of a notebook's explorer as executed, and the parameters of its smoke run."""
    notebook = json.loads((REPOSITORY / f"_build/smoke/executed/{name}.ipynb").read_text())
    state = notebook["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    smoke = yaml.safe_load((REPOSITORY / "profiles/smoke.yml").read_text())[name]
    return ([w["state"]["value"] for w in state.values() if w["model_name"] == "HTMLModel"],
            parameters.defaults(REPOSITORY / f"notebooks/{name}.ipynb") | smoke)


@pytest.mark.book
def test_a_frame_of_the_cut_shows_what_wlib_computes(smoke_run):
    """The part for the first three classes, cut again."""
    assert smoke_run.returncode == 0, smoke_run.stdout + smoke_run.stderr
    frames, given = frames_of(CUT)
    images = sources.images(given["data"], ways=given["ways"], samples=given["samples"],
                            held=given["held"])
    net = sources.trained(given["architectures"][0], images.fit, seeds=given["seeds"],
                          epochs=given["epochs"], widths=given["widths"]).network(0)
    x, y = images.fit.floats(), images.fit.labels
    right = wiring.logits(net, x).argmax(1) == y
    chosen = mda.select(net, x, y, given["per_class"],
                        correct=len(set(y[right].tolist())) == given["ways"])
    masks = mda.masks(mda.contributions(net, x[chosen], y[chosen]), mode="graph")
    part = mda.disassemble(net, masks, [0, 1, 2])
    fraction = cutting.cost(part, x[0]).weights / cutting.cost(net, x[0]).weights
    own, names = images.validation.labels < 3, " ".join(images.fit.classes[:3])
    said = wiring.logits(part, images.validation.floats()[own]).argmax(1)
    hits = (said == images.validation.labels[own]).double().mean().item()
    frame, = (text for text in frames if f"Part for {names}:" in text)
    assert f"{fraction:.0%} of the weights" in frame
    assert f"Among its own classes alone the part gets {hits:.0%}" in frame


@pytest.mark.book
def test_a_frame_of_recovery_shows_what_wlib_computes(smoke_run):
    """The first held-out teacher, inverted again by both generators."""
    assert smoke_run.returncode == 0, smoke_run.stdout + smoke_run.stderr
    frames, given = frames_of(RECOVERY)
    s, held_out = given["seeds"][0], given["held_out"]
    world = pipeline.universe(given["data"][:1], pipeline.Sizes(
        samples=given["samples"], choosing=1, episodes=1), seed=given["seed"])
    training = teachers.Training(width=given["width"], epochs=given["epochs"])
    pool = teachers.trained(world.fit, training, count=given["count"], seed=s)
    fresh = free.generator_for(pool, seed=s, nz=given["nz"], ngf=given["ngf"])
    five = free.Recovery(steps=5, lr=1e-2, per_class=given["per_class"])
    meta = free.fit_generator(pool[:-held_out], fresh, free.MetaTraining(five, 2, 2e-3),
                              epochs=given["meta_epochs"], seed=s)
    new = pool[-held_out:][:1]
    found = free.judge(new, free.recover(new, meta.generator, five, seed=s))["cross-entropy"]
    frame, = (text for text in frames
              if "Teacher 1 (held out)" in text and "after 5 steps:" in text)
    assert f"after 5 steps: {found.item():.2f} nats by the meta-generator" in frame


@pytest.mark.book
def test_a_frame_of_the_notebook_shows_what_wlib_computes(smoke_run):
    """One position from scratch: SciPy finds what is kept, wlib the accuracy of the children."""
    assert smoke_run.returncode == 0, smoke_run.stdout + smoke_run.stderr
    frames, given = frames_of(NAME)
    assert len(frames) >= 9
    frame, = (text for text in frames if "Energy kept 0.9:" in text)

    train_set, validation = (load(given["data"], split) for split in ("train", "validation"))
    parent = train.stored_fit("lenet", train_set, seeds=given["seeds"], epochs=given["epochs"])[0]
    first = parent.parameters["conv1.weight"].flatten().double().numpy()
    power = np.sort(fft.dct(first, norm="ortho") ** 2)[::-1]
    kept = int(np.argmax(power.cumsum() >= 0.9 * power.sum())) + 1
    assert f"{kept} of {len(first)} coefficients" in frame
    children = mge.generate(parent, max(1, given["draws"] // 4), 0.9, "tensor",
                            generator=given["seed"])
    right = score.accuracy(children, validation.take(given["images"], seed=0)).mean().item()
    assert f"get {right:.0%} right" in frame
    gap = score.ks_distance(children.flat()[:1], parent.flat()[0]).item()
    assert f"differs by {gap:.3f} " in frame
