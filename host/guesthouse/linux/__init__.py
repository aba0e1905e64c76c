"""What an OS process of a node gives up, by means of the kernel that cannot be undone.

`rights` is for all of them, node, workers and compiler alike; `landlock` and `seccomp` leave workers and the
compiler nothing but computing and the descriptors that they have. No library on PyPI that wraps these is
kept up, so they are spoken to here, each in a file of its own.
"""
