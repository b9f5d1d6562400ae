"""Data sets: what one can be, how its images are divided and brought to a network's form, and how they are varied.

`dataset` is the protocol. Each kind is one file: `from_torchvision`, `folders` and `shapes`; other packages add
theirs by the entry point `cnnkit.datasets`. `sets` finds one by its name or path.
"""
