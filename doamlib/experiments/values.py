"""Parameter values as people type them: in a YAML file, after ``-p``, in a notebook's cell."""

from __future__ import annotations

import ast
import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from doamlib.core import paths
from doamlib.core.report import Refusal, message_of, one_line

CELL_HEAD = "# Change these here, or from outside"
"""How the parameters cell of every notebook begins."""

INJECTED_HEAD = "# Parameters"
"""How papermill begins the cell of the values that it was given."""

LONGEST = 80
"""Characters of a value that a message shows."""

PLAIN = (bool, int, float, str, list, tuple, dict, type(None))


class ParameterError(Refusal, ValueError):
    """A parameter was refused; the one-line message names the key, the value and the fix."""


NO_YAML = (yaml.YAMLError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What PyYAML raises on text that is not YAML, or not one that a person would write (month 13)."""

MERGE = "tag:yaml.org,2002:merge"


class _EachKeyOnce(yaml.SafeLoader):
    """YAML as papermill reads it, but a key given twice is refused, not overwritten."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    lines: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == MERGE:  # what a mapping takes from another one, it may overwrite
            continue
        key, line = loader.construct_object(key_node, deep=True), key_node.start_mark.line + 1
        if key in lines:
            raise ParameterError(
                f"{key} is given in line {lines[key]} and in line {line}; keep one"
            )
        lines[key] = line
    return loader.construct_mapping(node, deep=True)


_EachKeyOnce.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ParameterError: the file is missing, is no YAML or no mapping, or gives a key twice.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_EachKeyOnce)
    except ParameterError as twice:
        raise ParameterError(f"{path}: {twice}") from None
    except (OSError, *NO_YAML) as failed:
        raise ParameterError(f"{path}: cannot be read as YAML ({message_of(failed)})") from None
    if not isinstance(values, dict):
        raise ParameterError(f"{path}: holds no 'key: value' lines; compare with params/quick.yaml")
    return values


def read_mapping(text: str, where: str) -> dict[str, str]:
    """A mapping of names given as text (``{knife: Knife}``) or as a YAML file that holds one.

    Of a parameter file its ``class_names`` are taken.

    Raises:
        ParameterError: it is no mapping of text to text.
    """
    if not text.strip():
        return {}
    value = as_written(text)
    if not isinstance(value, dict) and paths.at_home(text).is_file():
        value = read_yaml(paths.at_home(text))
        value = value.get("class_names", value)
    if not isinstance(value, dict) or not all(
        isinstance(v, str) for v in (*value, *value.values())
    ):
        raise ParameterError(
            f"{where} {text!r}: write a mapping of names, as in '{{knife: Knife}}', or name a "
            "YAML file that holds one"
        )
    return value


def shown(value: Any, bare: bool = False) -> str:
    """A value as a message shows it: on one line and never longer than ``LONGEST`` characters."""
    return one_line(str(value) if bare and str(value).isprintable() else repr(value), LONGEST)


def as_written(value: Any) -> Any:
    """The list or mapping that a text holds (``[SSD, SSD+SE]``, ``{"a": "b"}``); else the value."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            return yaml.load(value, Loader=_EachKeyOnce)
        except ParameterError:
            raise
        except NO_YAML:
            return value
    return value


def as_names(value: Any, known: Collection[str]) -> Any:
    """A list of names from one name, or from several with commas between; names may hold commas.

    Args:
        value: as typed; whatever is no text or list of texts stays.
        known: all names.
    """
    value = as_written(value)
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return value
    pieces = [piece.strip() for part in parts for piece in part.split(",")]
    names, start = [], 0
    while start < len(pieces):
        ends = range(len(pieces), start, -1)
        fits = (end for end in ends if ", ".join(pieces[start:end]) in known)
        end = next(fits, start + 1)
        names.append(", ".join(pieces[start:end]))
        start = end
    return names


def as_numbers(value: Any) -> Any:
    """A list of numbers from one number, or from several with commas between."""
    value = as_written(value)
    if isinstance(value, str) and all(part.strip().isdecimal() for part in value.split(",")):
        return [int(part) for part in value.split(",")]
    return [value] if type(value) is int else value


def places(file: Path | None = None) -> list[Path]:
    """The folders that a relative path may start from, the same for every way of running.

    The parameter file's own; the folder in which the command was typed (a notebook's kernel, which
    works elsewhere, inherits it as ``PWD``); the repository.
    """
    typed = Path(os.environ.get("PWD") or os.getcwd())
    own = [file.resolve().parent] if file is not None else []
    return list(dict.fromkeys([*own, typed, paths.repository()]))


def found_file(path: Path) -> Path:
    """A parameter file: as given, or relative to the repository (``params/quick.yaml``).

    Raises:
        ParameterError: it is in neither place; the message says where was looked.
    """
    path = paths.at_home(path)
    tried = dict.fromkeys([path.absolute(), paths.repository() / path])
    for place in tried:
        if os.path.isfile(place):
            return path if place == path.absolute() else place
    looked = " and ".join(map(str, tried))
    raise ParameterError(f"{path}: no such file; looked for {looked}")


def found_folder(folder: str, starts: Sequence[Path]) -> str:
    """The whole path of a folder that is given relative to one of ``starts``.

    Returns:
        The path; what was given where it is absolute or nothing is there.

    Raises:
        ParameterError: several of them have such a folder.
    """
    path = paths.at_home(folder)
    if path.is_absolute():
        return folder
    found = list(dict.fromkeys(p.resolve() for start in starts if os.path.isdir(p := start / path)))
    if len(found) > 1:
        both = " and ".join(map(str, found))
        raise ParameterError(f"data_root = {folder!r} may be {both}; write the whole path")
    return str(found[0]) if found else folder


def notebook_values(namespace: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """What a notebook's parameters cell, and papermill's behind it, assign.

    In a kernel the cells themselves are read, so that no other variable matters: not those of a
    startup file, not what later cells made. Where there are no cells (a plain mapping) all known
    names are taken, and unknown plain ones that look like a misspelt parameter.

    Args:
        namespace: the notebook's ``globals()``.
        known: names of parameters.
    """
    cells = [cell for cell in namespace.get("In", ()) if isinstance(cell, str)]
    wanted: set[str] = set()
    for head in (CELL_HEAD, INJECTED_HEAD):
        latest = [cell for cell in cells if cell.lstrip().startswith(head)][-1:]
        wanted |= {name for cell in latest for name in assigned(cell)}
    if not wanted:
        plain = {name for name, value in namespace.items() if isinstance(value, PLAIN)}
        close = {n for n in plain - set(known) if difflib.get_close_matches(n, known, 1, 0.8)}
        wanted = (plain & set(known)) | close
    return {name: namespace[name] for name in sorted(wanted) if name in namespace}


def assigned(cell: str) -> set[str]:
    """The names that a cell's own statements assign; none where it is no plain Python."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:  # a cell with IPython's own syntax
        return set()
    targets = [
        target
        for statement in statements
        for target in getattr(statement, "targets", [getattr(statement, "target", None)])
    ]
    return {target.id for target in targets if isinstance(target, ast.Name)}
