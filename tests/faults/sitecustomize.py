"""Python imports this before anything else where it is on its path: FAULT says what is to fail, and how.

FAULT=MODULE makes the import of that module raise; FAULT=MODULE:NAME makes a call of what is called so
there raise. FAULT_ERROR is an expression for what is raised.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_MODULE, _, _NAME = os.environ.get("FAULT", "").partition(":")


def _fail(*_: object, **__: object) -> None:
    import bpfroots.errors

    # The expression is the test's own.
    raise eval(os.environ["FAULT_ERROR"], vars(bpfroots.errors))  # noqa: S307


class _Finder:
    # The protocol of sys.meta_path.
    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        sys.meta_path.remove(_Finder)
        if not _NAME:
            _fail()
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.loader is not None
        load = found.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            *owner, last = _NAME.split(".")
            setattr(getattr(module, owner[0]) if owner else module, last, _fail)

        found.loader.exec_module = exec_module  # type: ignore[method-assign]
        return found


if _MODULE:
    sys.meta_path.insert(0, _Finder)
