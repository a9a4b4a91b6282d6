"""A graph opened in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from pairloom.engine.graph import Graph


def open_session(graph: Graph, *, quickly: bool = False) -> Any:
    """An `onnxruntime.InferenceSession` of one thread: the engine's workers are the threads.

    `quickly`: opened in half the time, with fewer optimisations, which make no difference for a few rows.
    """
    options = onnxruntime.SessionOptions()
    if quickly:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    names = list(graph.used)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(graph.arrays[name])) for name in names]
    options.add_external_initializers(names, values)
    return onnxruntime.InferenceSession(graph.model(), options, providers=["CPUExecutionProvider"])
