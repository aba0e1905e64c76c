"""How the OS processes of a node drop privileges, irrevocably.

`privileges` is for node, workers and compiler; `landlock` and `seccomp` leave workers and the
compiler only computation and their open descriptors. No library on PyPI that wraps these is
maintained, so the system calls are made here.
"""
