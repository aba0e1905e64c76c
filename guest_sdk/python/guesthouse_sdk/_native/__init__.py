"""The contract's bindings under plain CPython, in place of those that componentize-py makes.

Same module names, same names, same shapes: everything above this seam is one code path, in a
component and in a unit test. The functions ask the fake host that is running.
"""

from __future__ import annotations
