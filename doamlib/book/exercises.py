"""Self-checks of the exercises: a reader's answer beside a reference, and a wrong one is refused.

An exercise is a list of cases, each the arguments of a question and the right answer. What a reader
hands in is a function of these arguments, or the answer itself where there are none. They are in
:mod:`doamlib.book.exercise_cases`.

Each is asked on the page of its name's first part and listed in ``book/exercises.md``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Case = tuple[tuple[Any, ...], Any]
PAGES = {
    "xray": "xray_physics",
    "doam": "doam",
    "switch": "doam_switches",
    "rivals": "rivals",
    "ssd": "ssd",
    "sampling": "sampling",
    "run": "one_run",
    "ap": "average_precision",
    "measuring": "measuring",
}
"""First part of an exercise's name -> the page that asks it, in the order of the book."""


class WrongAnswer(ValueError):
    """The answer is not the reference's; the message shows both for one case."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback (a hook of IPython's)."""
        return [f"Not yet: {self}"]


@dataclass(frozen=True)
class Exercise:
    """A question with its right answers.

    Attributes:
        name: as in ``check("doam-kernel", ...)``; its label in the book is ``ex-doam-kernel``.
        level: 1 (a minute), 2 (some lines) or 3 (a page of paper).
        cases: makes the cases anew.
        tolerance: relative, of numbers.
    """

    name: str
    level: int
    cases: Callable[[], Iterable[Case]]
    tolerance: float

    @property
    def page(self) -> str:
        """The page that asks it, without its ending."""
        return PAGES[self.name.split("-")[0]]


_REGISTERED: dict[str, Exercise] = {}


def exercise(level: int) -> Callable:
    """Register a function that makes the cases of the exercise it is named after."""

    def register(cases: Callable[[], Iterable[Case]]) -> Callable:
        name = cases.__name__.replace("_", "-")
        _REGISTERED[name] = Exercise(name, level, cases, 1e-3)
        return cases

    return register


def value_of(name: str, level: int, answer: Any, tolerance: float = 1e-3) -> None:
    """Register an exercise whose answer is a value and no function."""
    _REGISTERED[name] = Exercise(name, level, lambda: [((), answer)], tolerance)


def exercises() -> dict[str, Exercise]:
    """Every exercise by name, page by page in the order of `PAGES`."""
    from doamlib.book import exercise_cases  # noqa: F401  registers them, and needs this module

    order = list(PAGES)
    named = sorted(_REGISTERED.items(), key=lambda item: order.index(item[0].split("-")[0]))
    return dict(named)


def check(name: str, answer: Any) -> None:
    """Compare an answer with the reference and say whether it is right.

    Args:
        name: of the exercise.
        answer: a function where the exercise asks for one, else the value. Three dots, or a
            function that returns them or nothing, stand for no answer yet.

    Raises:
        WrongAnswer: it is another than the reference's, by more than rounding.
        KeyError: there is no such exercise.
    """
    asked = exercises()[name]
    stars = "★" * asked.level
    for arguments, expected in asked.cases():
        given = _given(answer, arguments)
        if given is None or given is ...:
            print(f"{name} {stars}: no answer yet. Put yours for the dots and run the cell again.")
            return
        if not _agrees(given, expected, asked.tolerance):
            raise WrongAnswer(f"{name}: {_told(arguments)}{given!r}, but {expected!r} is right")
    print(f"{name} {stars}: right.")


def _given(answer: Any, arguments: tuple[Any, ...]) -> Any:
    if not arguments or answer is ...:
        return answer
    if not callable(answer):
        raise WrongAnswer(f"the answer is to be a function, not {answer!r}")
    with torch.no_grad():
        return answer(*copy.deepcopy(arguments))


def _agrees(given: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, Tensor | float | int):
        try:
            given, expected = (torch.as_tensor(x, dtype=torch.float64) for x in (given, expected))
        except (TypeError, ValueError, RuntimeError):
            return False
        same_shape = given.shape == expected.shape
        return same_shape and torch.allclose(given, expected, rtol=tolerance, atol=1e-5)
    if isinstance(expected, str):
        return str(given).strip().lower() == expected
    try:
        return type(expected)(given) == expected
    except (TypeError, ValueError):
        return False


def _told(arguments: tuple[Any, ...]) -> str:
    shown = [
        f"a tensor {tuple(a.shape)}" if isinstance(a, Tensor) else repr(a)
        for a in arguments
        if not isinstance(a, torch.nn.Module)
    ]
    return f"for {', '.join(shown)} it gives " if shown else ""
