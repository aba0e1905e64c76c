"""Loads an author's module by its file, as the build does."""

from __future__ import annotations

import importlib.util
import sys
from itertools import count
from pathlib import Path
from typing import Final

from guesthouse_sdk.entry import BadMain, Main, checked_main

_numbers: Final = count()


def load_main(path: str | Path) -> Main:
    """`main` of the module at `path`, such as `app.py`; its folder is on the import path meanwhile.

    Packages may all call their module `app`: each call loads it under a name of its own.

    Raises:
        BadMain: there is no such module, or its `main` cannot be run.
    """
    file = Path(path).resolve()
    name = f"guesthouse_process_{file.parent.name.replace('-', '_')}_{file.stem}_{next(_numbers)}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise BadMain(f"{path} is not a Python file: give the module that has main, such as app.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return checked_main(getattr(module, "main", None), file.name)
