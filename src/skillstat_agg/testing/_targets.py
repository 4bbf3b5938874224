"""What a harness is called on the command line: ``module:harness`` or ``path.py:harness``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from skillstat_agg.testing._harness import AnyHarness, Harness
from skillstat_agg.testing._stacks import line_of

DEFAULT_NAME = "harness"


class TargetError(Exception):
    """A target leads to no harness."""


def load(target: str) -> AnyHarness:
    """Return the harness that a target means; without a name it is called ``harness``.

    Raises:
        TargetError: If there is none; the message is one sentence that says why.
    """
    where, name = _split(target)
    is_path = where.endswith(".py") or "/" in where or os.sep in where
    module = _from_path(where) if is_path else _from_name(where)
    try:
        found: object = getattr(module, name)
    except AttributeError:
        raise TargetError(f"{where} has no {name!r}{_instead(module)}") from None
    if not isinstance(found, Harness):
        kind = type(found).__name__
        raise TargetError(f"{name!r} of {where} is no Harness but a {kind}{_instead(module)}")
    return found


def _split(target: str) -> tuple[str, str]:
    where, colon, name = target.rpartition(":")
    # A Windows path has a colon of its own.
    if colon and name.isidentifier() and where:
        return where, name
    if colon and not name:
        return where, DEFAULT_NAME
    return target, DEFAULT_NAME


def _instead(module: ModuleType) -> str:
    names = sorted(name for name, value in vars(module).items() if isinstance(value, Harness))
    return f"; its harnesses: {', '.join(names)}" if names else "; there is no Harness in it"


def _from_name(name: str) -> ModuleType:
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = f"; did you mean {name}.py?" if Path(f"{name}.py").is_file() else ""
            raise TargetError(f"there is no module {error.name}{hint}") from error
        raise _failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _from_path(where: str) -> ModuleType:
    path = Path(where).absolute()
    if not path.is_file():
        raise TargetError(f"there is no file {where}")
    if path.suffix != ".py":
        raise TargetError(f"{where} is no Python file")
    # As pytest does it: the folder above the outermost package becomes importable.
    folder, parts = path.parent, [path.stem]
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    name = ".".join(parts)
    try:
        if len(parts) > 1:
            importlib.import_module(".".join(parts[:-1]))
        loaded = sys.modules.get(name)
        if loaded is not None and _file_of(vars(loaded)) == path:
            return loaded
        if loaded is not None or parts[0] in sys.stdlib_module_names:
            name = f"{name}__target"  # it must not take the place of another module
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise _failed(where, error) from error
    return module


def _failed(where: str, error: BaseException) -> TargetError:
    # Some errors say nothing in their text, and some say it in many lines.
    said = " ".join(str(error).split())
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    line = line_of(error)
    return TargetError(f"{where} cannot be imported: {what}" + (f" ({line})" if line else ""))


def target_of_caller(harness: AnyHarness, depth: int = 2) -> str | None:
    """Return what the caller of the function that asks calls a harness.

    Args:
        harness: The harness.
        depth: How many calls ago that was.
    """
    return target_in(sys._getframe(depth).f_globals, harness)


def target_in(names: Mapping[str, object], harness: AnyHarness) -> str | None:
    """Return what a module calls a harness; None: it has no name there, or no file.

    The path is relative to the current directory.
    """
    path = _file_of(names)
    if path is None:
        return None
    for name, value in names.items():
        if value is harness:
            try:
                shown = os.path.relpath(path)
            except ValueError:  # another drive
                shown = str(path)
            return f"{Path(shown).as_posix()}:{name}"
    return None


def _file_of(names: Mapping[str, object]) -> Path | None:
    file = names.get("__file__")
    return Path(file).absolute() if isinstance(file, str) else None
