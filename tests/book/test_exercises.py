"""Self-checks accept the reference and refuse wrong answers; every exercise is listed."""

import re
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F

from doamlib.book.build import toc_notebooks
from doamlib.book.exercises import PAGES, WrongAnswer, check, exercises

BOOK = Path(__file__).parents[2] / "book"
EXERCISES = exercises()


def forgetful_pool(losses, room, limit):
    """Algorithm 2 without its first half: nothing is refused for being easy."""
    return sorted(sorted(range(len(losses)), key=lambda i: -losses[i])[:room])


def greedy_iou(a, b):
    """Intersection over the smaller box, a common slip."""
    width, height = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    return width * height / min((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b))


def always_gated(doam, images):
    return torch.full_like(images[:, :1], 0.5)


WRONG = {
    "xray-layers": [0.7, 0.35],
    "xray-blade": ["darker", "bluer", "neither"],
    "xray-occlusion": [lambda w, v1, v0: float((w * v1).sum() / (w * v0).sum())],
    "doam-kernel": [15, 3**5, "11 pixels"],
    "doam-gradient": [{"gamma", "attention.fusion.weight"}, set(), "gamma"],
    "doam-edges": [
        lambda e: 255 * (e - e.amin()) / (e.amax() - e.amin()),  # over the batch
        lambda e: 255 * e / e.amax((1, 2, 3), keepdim=True),
    ],
    "doam-regions": [lambda x, k: F.avg_pool2d(x, k), lambda x, k: F.avg_pool2d(x, k, 1)],
    "doam-gate-size": [24 * 16 * 9, 12 * 16 * 9 + 16],
    "switch-faded": [0.25, 0.0],
    "switch-undone": ["edge_channel", "edge_normalisation"],
    "switch-without-gate": [always_gated, lambda doam, images: images],
    "rivals-pairs": [150**2, 150 * 149],
    "rivals-size": [4 * 64 * 32, 8352],
    "rivals-shuffle": [{"SE"}, {"SE", "Non-local", "DA"}],
    "sampling-steps": [17_820, 18_000],
    "sampling-focal": [0.9, 0.32],
    "sampling-threshold": [{4}, {2, 4}, set()],
    "sampling-pool": [forgetful_pool, lambda losses, room, limit: []],
    "ssd-iou": [greedy_iou, lambda a, b: 0.5],
    "ssd-empty": [1.0, float("nan")],
    "ssd-decode": [lambda offsets, priors: priors, lambda offsets, priors: priors + offsets],
    "ssd-mining": [
        lambda entropy, positive: float(entropy.sum()),
        lambda entropy, positive: float(entropy[positive].sum()),
    ],
    "run-rate": [1.0, 0.25],  # in thousandths: the peak, a straight fall
    "run-key": [{"epochs", "seeds", "device"}, {"seeds"}],
    "run-fold": [
        lambda kernel, bias, *norm: torch.cat([kernel.flatten(), bias]),
        lambda kernel, bias, scale, shift, mean, variance: torch.cat(
            [(kernel * scale.view(-1, 1, 1, 1)).flatten(), (bias - mean) * scale + shift]
        ),
    ],
    "ssd-suppression": [lambda boxes, scores, limit: [1], lambda *_: [1, 2, 0, 3]],
    "ap-flood": [0.0, 0.01],
    "measuring-single": [0.84, 0.5],
    "measuring-parts": [0.8, 0.48],
    "measuring-seeds": [5, 4],
    "ap-best": [1.0, 0.56],
    "ap-area": [
        lambda hits, items: sum(hits) / items,
        lambda hits, items: (
            sum(  # precision at each hit, not raised
                (sum(hits[: i + 1]) / (i + 1)) for i, hit in enumerate(hits) if hit
            )
            / items
        ),
    ],
}


def test_every_exercise_has_wrong_answers_here():
    assert set(WRONG) == set(EXERCISES)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_reference_is_right_and_dots_are_no_answer(name, capsys):
    cases = list(EXERCISES[name].cases())
    answers = iter(expected for _, expected in cases)
    check(name, (lambda *_: next(answers)) if cases[0][0] else cases[0][1])
    assert "right" in capsys.readouterr().out
    check(name, ...)
    check(name, (lambda *_: None) if cases[0][0] else ...)
    assert capsys.readouterr().out.count("no answer yet") == 2


@pytest.mark.parametrize("name", EXERCISES)
def test_wrong_answers_are_refused(name):
    for wrong in WRONG[name]:
        with pytest.raises(WrongAnswer, match=name):
            check(name, wrong)


def test_a_value_where_a_function_is_asked_is_refused():
    with pytest.raises(WrongAnswer, match="function"):
        check("ssd-iou", 0.5)


def test_an_answer_cannot_change_what_it_is_compared_with():
    def clearing(edges):
        return edges.zero_()

    with pytest.raises(WrongAnswer):
        check("doam-edges", clearing)


# --- the book's side --------------------------------------------------------------------------


def asked_on(page):
    """Labels of the exercises of a page, in order, with their stars; and of its solutions."""
    cells = nbformat.read(BOOK / f"{page}.ipynb", as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    asked = re.findall(r"\{exercise\}.*?(★+)\n:label: ex-(\S+)", text)
    solved = re.findall(r"\{solution(?:-start)?\} ex-(\S+)\n:class: dropdown", text)
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return asked, solved, code


@pytest.mark.parametrize("page", PAGES.values())
def test_a_method_page_asks_and_solves_its_exercises(page):
    asked, solved, code = asked_on(page)
    expected = {n: "★" * e.level for n, e in EXERCISES.items() if e.page == page}
    assert {name: stars for stars, name in asked} == expected
    assert 3 <= len(asked) <= 6
    assert solved == [name for _, name in asked]
    for name in expected:  # once for the reader, once in the solution
        assert code.count(f'check("{name}"') == 2


def test_the_index_lists_every_exercise_of_the_book_once_page_by_page():
    pages = [name.removesuffix(".ipynb") for name in toc_notebooks(BOOK)]
    asked = [name for page in pages for _, name in asked_on(page)[0]]
    listed = re.findall(r"\{ref\}`ex-([a-z-]+)`", (BOOK / "exercises.md").read_text())
    assert listed == asked and len(set(asked)) == len(asked) > len(EXERCISES)


def test_no_exercise_is_left_without_a_number_and_a_solution():
    for name in toc_notebooks(BOOK):
        asked, solved, _ = asked_on(name.removesuffix(".ipynb"))
        assert solved == [label for _, label in asked], name
        assert "{admonition} Exercise" not in (BOOK / name).read_text(), name
