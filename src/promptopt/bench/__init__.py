"""Side-by-side benchmarks: the engine against plain ways of doing the same work, on the same model and cases.

The modules ``flops``, ``memory``, ``methods``, ``peak``, ``plain``, ``timing`` and ``workload`` import numpy, torch,
transformers and ``promptopt.engines`` only, so that a bare GPU machine can use them.
"""
