"""Two engines side by side on one net: the same weights and inputs, layer by layer.

`freeze` rewrites a net so that both engines compute the same and show every value; `worker` runs
one engine in a process of its own, so that two modules named ``caffe`` can be compared; `measure`
finds where they differ first.
"""
