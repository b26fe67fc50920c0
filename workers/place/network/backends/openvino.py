"""Inference by OpenVINO, on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workers.place.network.backends.pace import cpu_clock
from workers.place.network.backends.sized import SizedBackend
from workers.place.network.braggnn import BraggNN, FoldedBraggNN

__all__ = ["OpenVinoBackend"]

_SIZES = (16, 64, 128, 256, 512)
_PROPERTIES = {
    # The default on many processors is bfloat16, which is off by 0.02 px.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    # Workers are processes: pinned, all of them would share the first core.
    "ENABLE_CPU_PINNING": False,
}


class OpenVinoBackend(SizedBackend):
    """Inference by OpenVINO, for a few batch sizes known beforehand.

    Parameters
    ----------
    network
        The network, on the CPU.
    n_threads
        CPU threads.
    sizes
        Batch sizes to make ready for.

    Raises
    ------
    ImportError
        OpenVINO is not installed.
    RuntimeError
        OpenVINO cannot use this processor.
    """

    def __init__(self, network: BraggNN, n_threads: int, sizes: Sequence[int] = _SIZES):
        openvino, core = _openvino()
        properties = {**_PROPERTIES, "INFERENCE_NUM_THREADS": n_threads}
        with torch.inference_mode():
            graph = _Graph(openvino.opset13, network)
            models = {size: openvino.Model(*graph.draw(size)) for size in sizes}
        programs = {
            size: _Program(openvino, core.compile_model(model, "CPU", properties))
            for size, model in models.items()
        }
        super().__init__(programs, network.architecture, clock=cpu_clock(n_threads))


@cache
def _openvino() -> tuple[Any, Any]:
    """Return the package and its core, which stays for as long as the process.

    A core gives signals a stack of its own and puts the one before back when it goes. Of two that
    do not go in reverse order, the second puts a stack back that is no more, and the next signal
    ends the process with a segmentation fault.
    """
    # Being imported, it reports so to its makers over the network, unless its reporter is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino
    from openvino import opset13  # noqa: F401

    return openvino, openvino.Core()


class _Program:
    """A compiled model, run without copying its inputs."""

    def __init__(self, openvino: Any, model: Any):
        self._tensor = openvino.Tensor
        self._n_inputs = len(model.inputs)
        self._request = model.create_infer_request()

    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        for index, array in enumerate((images, scales)[: self._n_inputs]):
            self._request.set_input_tensor(index, self._tensor(array, shared_memory=True))
        self._request.infer()
        answers: NDArray[np.float32] = self._request.get_output_tensor().data
        return answers


class _Graph:
    """The operations of `workers.place.network.braggnn.FoldedBraggNN`, as OpenVINO names them."""

    def __init__(self, opset: Any, network: BraggNN):
        self._op, self._network = opset, network
        if network.nlb is not None:
            folded = FoldedBraggNN(network)
            maps = folded._query, folded._query_bias, folded._out, folded._offset  # noqa: SLF001
            self._query, self._query_bias, self._out, self._offset = map(_array, maps)

    def draw(self, size: int) -> tuple[list[Any], list[Any]]:
        """Return results and parameters of a model for batches of `size`."""
        op, network, shape = self._op, self._network, self._network.architecture
        images = op.parameter([size, shape.inputs, shape.patch_size, shape.patch_size], np.float32)
        parameters, x = [images], images
        layers = list(network.cnn_layers)
        if network.nlb is not None:
            x, layers = self._attend(images, size), layers[2:]
        x = op.reshape(self._layers(x, layers), [size, -1], False)
        if shape.scales:
            scales = op.parameter([size, shape.scales], np.float32)
            parameters.append(scales)
            x = op.concat([x, scales], 1)
        answers = self._layers(x, list(network.dense_layers))
        if network.branch_layers is not None:
            answers = op.concat([answers, self._layers(x, list(network.branch_layers))], 1)
        return [answers], parameters

    def _attend(self, images: Any, size: int) -> Any:
        op, shape = self._op, self._network.architecture
        inner, numbers = shape.patch_size - 2, 9 * shape.inputs
        # A convolution with the unit matrix gathers the neighbourhoods.
        unit = np.eye(numbers, dtype=np.float32).reshape(numbers, shape.inputs, 3, 3)
        near = op.convolution(images, unit, [1, 1], [0, 0], [0, 0], [1, 1])
        near = op.reshape(near, [size, 1, numbers, inner * inner], False)
        near = op.transpose(near, [0, 1, 3, 2])
        query = op.add(op.matmul(near, self._query, False, False), self._query_bias)
        unmasked, scale = op.constant(np.float32(0.0)), op.constant(np.float32(1.0))
        mean = op.scaled_dot_product_attention(query, near, near, unmasked, scale)
        both = op.concat([near, mean], 3)
        x = op.add(op.matmul(both, self._out, False, False), self._offset)
        x = op.transpose(self._leak(x), [0, 1, 3, 2])
        return op.reshape(x, [size, -1, inner, inner], False)

    def _layers(self, x: Any, layers: Sequence[nn.Module]) -> Any:
        op = self._op
        for layer in layers:
            if isinstance(layer, nn.Linear):
                x = op.add(op.matmul(x, _array(layer.weight), False, True), _array(layer.bias))
            elif isinstance(layer, nn.Conv2d):
                x = op.convolution(x, _array(layer.weight), [1, 1], [0, 0], [0, 0], [1, 1])
                x = op.add(x, _array(layer.bias).reshape(1, -1, 1, 1))
            elif isinstance(layer, nn.GLU):
                half, gate = op.split(x, 1, 2).outputs()
                x = op.multiply(half, op.sigmoid(gate))
            elif isinstance(layer, nn.LeakyReLU):
                x = self._leak(x)
            else:
                raise RuntimeError(f"no operation for {layer}")
        return x

    def _leak(self, x: Any) -> Any:
        return self._op.prelu(x, np.array([0.01], np.float32))


def _array(tensor: Tensor | None) -> NDArray[np.float32]:
    if tensor is None:
        raise RuntimeError("a layer has no bias")
    array: NDArray[np.float32] = tensor.detach().contiguous().numpy()
    return array
