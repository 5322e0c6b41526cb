"""Self-checks of the exercises: a reader's answer beside a reference, and a wrong one is refused.

An exercise is a list of cases, each the arguments of a question and the right answer. What a reader
hands in is a function of these arguments, or the answer itself where there are none. They are in
:mod:`doamlib.book.exercise_cases`.

Each is asked on the page of its name's first part and listed in ``book/exercises.md``.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from doamlib.book.exercise_cases import PAGES, REGISTERED, Exercise


class WrongAnswer(ValueError):
    """The answer is not the reference's; the message shows both for one case."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback (a hook of IPython's)."""
        return [f"Not yet: {self}"]


def exercises() -> dict[str, Exercise]:
    """Every exercise by name, page by page in the order of `PAGES`."""
    order = list(PAGES)
    named = sorted(REGISTERED.items(), key=lambda item: order.index(item[0].split("-")[0]))
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
