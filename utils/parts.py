"""The parts of what an adapter sees, by name (features.py makes them; --parts chooses among them).

They stand here since features.py imports torch, and options are checked before that is loaded.
"""
CONTEXT_PARTS = ("prompt", "parallel", "budget")                   # of x: e, B and T
# Each part of o_t can be left out. In place of "distribution" there may be "entropy", the first of
# its four numbers alone: the paper's ablation.
OBSERVATION_PARTS = ("hidden", "prompt", "distribution", "budget")
