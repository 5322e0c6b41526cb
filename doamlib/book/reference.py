"""The reference of the library: what its rooms show, from their docstrings. A Sphinx extension.

A page says ``:::{room} doamlib.models`` and gets an entry for each name of that room's face, then
for what pages import from its modules beside it, with links to the source (``sphinx.ext.viewcode``)
and to those pages; ``:short:`` gives a line each instead. Code in the text of any page leads to its
entry. A face that names what is not there is an error, and so fails the build.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from doamlib.core import paths

ROOMS = (
    "doamlib.data",
    "doamlib.data.doctor",
    "doamlib.simulation",
    "doamlib.models",
    "doamlib.sampling",
    "doamlib.training",
    "doamlib.recipe",
    "doamlib.evaluation",
    "doamlib.experiments",
    "doamlib.claims",
    "doamlib.claims.verify",
    "doamlib.paper",
    "doamlib.book",
)
"""From an image to a verdict; :mod:`doamlib.core` shows nothing."""

MAX_ARGUMENTS = 8
"""Signatures with more are shown as ``(...)``: the fields stand below."""

SHOWN = 3
"""Pages that an entry names at most, in reading order."""

EVERYWHERE = 10
"""What so many pages import is explained by none of them."""


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    for extension in ("autodoc", "napoleon", "viewcode"):
        app.setup_extension(f"sphinx.ext.{extension}")
    app.add_directive("room", Room)
    app.connect("autodoc-process-docstring", _shorten, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _short_signature)
    app.connect("doctree-resolved", _link_code)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


# --- what there is --------------------------------------------------------------------------------


def face(room: str) -> list[str]:
    """The names that a room shows: ``__all__`` of a package, public definitions of a module."""
    module = import_module(room)
    if hasattr(module, "__path__"):
        return list(module.__all__)
    tree = ast.parse(inspect.getsource(module))
    defined = [n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    return [name for name in defined if not name.startswith("_")]


def home(room: str, name: str) -> str:
    """The full name of what a room shows: ``doamlib.models.doam.DOAM`` for models' ``DOAM``.

    Raises:
        AttributeError: the room names what is not there.
    """
    value = getattr(import_module(room), name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return f"{value.__module__}.{value.__qualname__}"
    for file in sorted(Path(import_module(room).__path__[0]).glob("*.py")):
        if name in _assigned(file) and file.stem != "__init__":
            return f"{room}.{file.stem}.{name}"
    raise AttributeError(f"no module of {room} assigns {name}")


def listed(room: str) -> list[str]:
    """Full names: the room's face, then what pages import from its modules beside it."""
    shown = [home(room, name) for name in face(room)]
    others = [other for other in ROOMS if other.startswith(f"{room}.")]
    beside = [
        place
        for place in sorted(pages())
        if place.startswith(f"{room}.") and not place.startswith(tuple(f"{o}." for o in others))
    ]
    return list(dict.fromkeys([*shown, *beside]))


def _value(place: str) -> Any:
    module, _, name = place.rpartition(".")
    return getattr(import_module(module), name)


def _assigned(file: Path) -> set[str]:
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            found |= {target.id} if isinstance(target, ast.Name) else set()
    return found


@functools.cache
def pages() -> dict[str, list[str]]:
    """Full name of each thing that pages import -> those pages, in reading order."""
    from doamlib.book.build import toc_notebooks

    found: dict[str, list[str]] = {}
    for notebook in toc_notebooks(paths.book()):
        for name in sorted(set(imported(paths.book() / notebook))):
            found.setdefault(name, []).append(notebook.removesuffix(".ipynb"))
    return found


def imported(notebook: Path) -> Iterator[str]:
    """The full names of what the cells of a notebook import from the library."""
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    for cell in [cell for cell in cells if cell.cell_type == "code"]:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("doamlib."):
                for alias in node.names:
                    value = getattr(import_module(node.module), alias.name, None)
                    if inspect.isclass(value) or inspect.isroutine(value):
                        yield f"{value.__module__}.{value.__qualname__}"


# --- directives -----------------------------------------------------------------------------------


def entry(place: str) -> str:
    """The directive of autodoc (reStructuredText) for something by its full name."""
    value = _value(place)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return f".. autodata:: {place}\n   :no-value:\n"
    if inspect.isroutine(value):
        return f".. autofunction:: {place}\n"
    if issubclass(value, BaseException):
        return f".. autoexception:: {place}\n"
    return f".. autoclass:: {place}\n   :members:\n   :exclude-members: model_config\n"


def line(place: str) -> str:
    """A row of the list (reStructuredText): the name, which leads to its entry, and its purpose."""
    module, _, name = place.rpartition(".")
    value = _value(place)
    if inspect.isclass(value) or inspect.isroutine(value):
        text = inspect.getdoc(value) or ""
    else:
        text = "\n".join(ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name), []))
    purpose = " ".join(text.strip().partition("\n\n")[0].split())
    return f"   * - :py:obj:`~{place}`\n     - {purpose}\n"


class Room(SphinxDirective):
    """``{room} NAME``: an entry for each name; with ``:short:`` a line for each."""

    required_arguments = 1
    option_spec: ClassVar = {"short": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Called by docutils."""
        room = self.arguments[0]
        self.env.note_dependency(inspect.getfile(import_module(room)))
        try:
            places = listed(room)
        except AttributeError as error:
            raise self.error(str(error)) from None
        text = "\n".join(entry(place) for place in places)
        if "short" in self.options:
            text = ".. list-table::\n   :widths: auto\n\n" + "".join(map(line, places))
        block = nodes.container()
        lines = ["```{eval-rst}", *text.splitlines(), "```"]
        self.state.nested_parse(StringList(lines, source=room), 0, block)
        return block.children


# --- what an entry says ---------------------------------------------------------------------------


def _shorten(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Members keep their first paragraph; the others say on which pages they are met."""
    if what in ("method", "property", "attribute"):
        end = lines.index("") if "" in lines else len(lines)
        del lines[end:]
    elif met := pages().get(name, []):
        told = met[:SHOWN] if len(met) < EVERYWHERE else []
        lines += ["", *(["Used in " + ", ".join(f":doc:`/{page}`" for page in told)] * bool(told))]


def _short_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str | None, Any]:
    if what == "class" and signature:
        count = len(inspect.signature(obj).parameters)
        return ("(...)" if count > MAX_ARGUMENTS else signature), returns
    return signature, returns


def _link_code(app: Any, doctree: nodes.document, page: str) -> None:
    """Code in a text that is a documented name, written in full or as its room shows it."""
    known = app.env.domaindata["py"]["objects"]
    for literal in list(doctree.findall(nodes.literal)):
        name = re.sub(r"\(.*\)$", "", literal.astext())
        target = known.get(_shown().get(name, name))
        linked = isinstance(literal.parent, nodes.reference)
        if target and name.startswith("doamlib.") and not linked and app.builder.format == "html":
            address = app.builder.get_relative_uri(page, target.docname)
            link = nodes.reference("", "", internal=True)
            link["refuri"] = f"{address}#{target.node_id}"
            literal.replace_self(link)
            link.append(literal)


@functools.cache
def _shown() -> dict[str, str]:
    """``doamlib.models.DOAM`` -> ``doamlib.models.doam.DOAM``, of everything that rooms show."""
    return {f"{room}.{name}": home(room, name) for room in ROOMS for name in face(room)}
