"""The underscored half of ``caffe.Net``: what programs use that look under the hood."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.pycaffe.batches import batches
from scratchdet_caffe.pycaffe.blob import Array, Blob

if TYPE_CHECKING:
    from scratchdet_caffe.engine import net as engine
    from scratchdet_caffe.pycaffe.passes import Passes


class RawNet:
    """Layers and blobs by number, in the order in which they are made."""

    blobs: OrderedDict[str, Blob]
    _net: engine.Net
    _passes: Passes

    @property
    def _layer_names(self) -> list[str]:
        return [node.layer.name for node in self._net.graph.nodes]

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def _blob_names_index(self) -> dict[str, int]:
        return {blob: i for i, blob in enumerate(self.blobs)}

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.blobs.values())

    @property
    def _blob_loss_weights(self) -> list[float]:
        weights = {self._net.graph.blob_of[v]: w for v, w in self._net.loss_terms}
        return [weights.get(blob, 0.0) for blob in self.blobs]

    @property
    def _inputs(self) -> list[int]:
        return [self._blob_names_index[blob] for blob in self._net.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self._blob_names_index[blob] for blob in self._net.outputs]

    def _bottom_ids(self, layer: int) -> list[int]:
        """Return the numbers of the blobs that layer number ``layer`` reads."""
        return [self._blob_names_index[b] for b in self._net.graph.nodes[layer].layer.bottom]

    def _top_ids(self, layer: int) -> list[int]:
        """Return the numbers of the blobs that layer number ``layer`` makes."""
        return [self._blob_names_index[b] for b in self._net.graph.nodes[layer].layer.top]

    def _forward(self, start: int, end: int) -> float:
        """Run layers ``start`` to ``end``, both included; return the loss that they make."""
        self.push()
        self._passes.forward(range(start, end + 1))
        weights = dict(self._net.loss_terms)
        made = [v for node in self._net.graph.nodes[start : end + 1] for v in node.tops]
        return sum(
            weights[v] * float(self.blobs[self._net.graph.blob_of[v]].data.sum())
            for v in made
            if v in weights
        )

    def _backward(self, start: int, end: int) -> None:
        """Go back through layers ``start`` down to ``end``, both included."""
        self.push()
        self._passes.backward(range(end, start + 1))
        self.pull()

    def _set_input_arrays(self, data: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        self.set_input_arrays(data, labels)

    def _batch(self, blobs: Mapping[str, npt.ArrayLike]) -> Iterator[dict[str, Any]]:
        """Cut arrays (samples, ...) into batches of the first blob's size."""
        size = next(iter(self.blobs.values())).num
        arrays: dict[str, tuple[Array, int]] = {
            name: (np.asarray(array, np.float32), size) for name, array in blobs.items()
        }
        return batches(arrays)

    def push(self) -> None:
        """Bring what somebody wrote into parameters to the device."""
        raise NotImplementedError

    def pull(self) -> None:
        """Show what changed the parameters in the arrays that somebody holds."""
        raise NotImplementedError

    def set_input_arrays(self, data: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        """Let the MemoryData layer that the net begins with serve these arrays."""
        raise NotImplementedError
