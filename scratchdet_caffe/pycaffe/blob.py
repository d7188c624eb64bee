"""Blobs as pycaffe shows them: live numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scratchdet_caffe.errors import UserError

Array = npt.NDArray[np.float32]


class Blob:
    """A named array of the net, with its gradient.

    ``data`` and ``diff`` are float32 arrays that stay the same object from pass to pass, unless
    the shape changes: a write in place reaches the next pass, and what a pass computes shows in
    an array that somebody took before. Nothing is copied for blobs that nobody looks at.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._value: Tensor | None = None  # what the last pass computed
        self._data: Array | None = None  # what somebody holds; the truth once it exists
        self._diff: Array | None = None

    @property
    def data(self) -> Array:
        """The values, ``shape``."""
        if self._data is None:
            if self._value is None:
                self._data = np.zeros(self._shape, np.float32)
            else:
                self._data = _to_array(self._value)
        return self._data

    @property
    def diff(self) -> Array:
        """The gradient of the last backward pass, ``shape``."""
        if self._diff is None:
            self._diff = np.zeros(self._shape, np.float32)
        return self._diff

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self._shape

    @property
    def count(self) -> int:
        """The number of values."""
        return int(np.prod(self._shape))

    @property
    def num(self) -> int:
        """Length of axis 0 (1 if there is none), as all four of the old names do."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """Length of axis 1."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """Length of axis 2."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """Length of axis 3."""
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        return self._shape[axis] if axis < len(self._shape) else 1

    def reshape(self, *shape: int) -> None:
        """Give the blob another shape; its values start at 0 if the count changes."""
        old = self._data if self._data is not None and self.count == np.prod(shape) else None
        self._shape = tuple(int(dim) for dim in shape)
        self._value = None
        self._data = None if old is None else old.reshape(self._shape)
        self._diff = None

    def set_value(self, value: Tensor) -> None:
        """Take what a pass computed; arrays that somebody holds show it at once."""
        self._value = value.detach()
        self._shape = tuple(value.shape)
        if self._data is not None:
            if self._data.shape == self._shape:
                np.copyto(self._data, _float32(self._value).cpu().numpy())
            else:
                self._data = None
        if self._diff is not None and self._diff.shape != self._shape:
            self._diff = None

    def set_diff(self, grad: Tensor | None) -> None:
        """Take the gradient that a backward pass computed; None is zero."""
        if grad is not None:
            np.copyto(self.diff, _float32(grad.detach()).cpu().numpy())
        elif self._diff is not None:
            self._diff.fill(0)

    def share(self, tensor: Tensor) -> None:
        """Let `data` be the memory of ``tensor`` (a copy, if it is not on a CPU)."""
        self._value, self._data = None, _to_array(tensor.detach())

    def push(self) -> None:
        """Bring what somebody wrote to where it is needed; nothing to do for a blob of a net."""

    def pull(self) -> None:
        """Show in arrays that somebody holds what changed; nothing to do for a blob of a net."""

    def as_tensor(self, device: torch.device) -> Tensor:
        """Return the present values as a tensor, sharing memory with `data` where possible."""
        if self._data is None and self._value is not None:
            return self._value
        return torch.from_numpy(self.data).to(device)


class BlobVec(list[Blob]):
    """The parameter blobs of a layer."""

    def add_blob(self, *shape: int) -> None:
        """Add a parameter blob of zeros; `Layer.setup` may fill its ``data``."""
        self.append(Blob(tuple(int(dim) for dim in shape)))


class CopyBlob(Blob):
    """A blob that a Split layer makes: its data is that of ``source``, its diff its own."""

    def __init__(self, shape: tuple[int, ...], source: Blob) -> None:
        super().__init__(shape)
        self._source = source

    @property
    def data(self) -> Array:
        """The values, ``shape``: the same array as in the source."""
        return self._source.data

    def reshape(self, *shape: int) -> None:
        """Give the blob another shape; the values are the source's all the same."""
        self._shape = tuple(int(dim) for dim in shape)
        self._diff = None

    def set_value(self, value: Tensor) -> None:
        """Take the shape of what a pass computed; the source has the values."""
        if self._shape != tuple(value.shape):
            self.reshape(*value.shape)

    def as_tensor(self, device: torch.device) -> Tensor:
        """Return the present values as a tensor of its own over the source's memory."""
        return self._source.as_tensor(device).detach()


class ParamBlob(Blob):
    """A parameter blob: on a CPU its arrays are the parameter and its gradient themselves."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tuple(tensor.shape))
        self._tensor = tensor

    @property
    def data(self) -> Array:
        """The values, ``shape``."""
        if self._data is None:
            if not self._tensor.is_contiguous():
                # Programs write through ravel() and reshape(), which must not copy: a kernel
                # that somebody looks at gives up the channels-last layout.
                self._tensor.data = self._tensor.data.contiguous()
            self._data = self._tensor.detach().cpu().numpy()
        return self._data

    @property
    def diff(self) -> Array:
        """The gradient, summed over backward passes until it is cleared."""
        if self._diff is None:
            self._diff = np.zeros(self._shape, np.float32)
            self._hold_diff()
        elif self._tensor.grad is None:
            self._diff.fill(0)
            self._hold_diff()
        return self._diff

    def _hold_diff(self) -> None:
        """Show the gradient in the array that somebody holds; on a CPU, let them be one."""
        if self._diff is None or not self._tensor.requires_grad:
            return
        grad = self._tensor.grad
        if grad is None:
            self._diff.fill(0)
        elif grad.data_ptr() != self._diff.ctypes.data:
            np.copyto(self._diff, grad.cpu().numpy())
        if self._tensor.device.type == "cpu":
            self._tensor.grad = torch.from_numpy(self._diff)

    def reshape(self, *shape: int) -> None:
        """Refuse: the shape of a parameter follows from its layer.

        Raises:
            UserError: ``shape`` is another one.
        """
        if tuple(shape) != self._shape:
            raise UserError(
                f"a parameter blob of shape {self._shape} cannot become {tuple(shape)}: "
                "its layer gives it its shape"
            )

    @torch.no_grad()
    def push(self) -> None:
        """Bring what somebody wrote to a parameter on another device."""
        if self._tensor.device.type == "cpu":
            return
        if self._data is not None:
            self._tensor.copy_(torch.from_numpy(self._data))
        if self._diff is not None and self._tensor.grad is not None:
            self._tensor.grad.copy_(torch.from_numpy(self._diff))

    def pull(self) -> None:
        """Show in arrays that somebody holds what a pass or an update made of the parameter."""
        if self._data is not None and self._tensor.device.type != "cpu":
            np.copyto(self._data, self._tensor.detach().cpu().numpy())
        self._hold_diff()


class ReshapedBlob(ParamBlob):
    """A parameter blob that is another layer's, in a shape of its own (PERMISSIVE sharing)."""

    def __init__(self, source: ParamBlob, shape: tuple[int, ...]) -> None:
        super().__init__(source._tensor)
        self._source, self._shape = source, shape

    @property
    def data(self) -> Array:
        """The values, ``shape``."""
        return self._source.data.reshape(self._shape)

    @property
    def diff(self) -> Array:
        """The gradient, summed over backward passes until it is cleared."""
        return self._source.diff.reshape(self._shape)

    def push(self) -> None:
        """Leave it to the owner."""

    def pull(self) -> None:
        """Leave it to the owner."""


def _float32(value: Tensor) -> Tensor:
    """``value``, if it is none of the half floats of mixed precision, else as float32."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def _to_array(value: Tensor) -> Array:
    array: Any = _float32(value).cpu().contiguous().numpy()
    return np.require(array, np.float32, "W")
