"""A graphics card that is none: tensors that say they lie on one, so that what would fail there is found without one.

Their values lie on the CPU, out of reach: an operation that mixes them with tensors of the CPU is refused as torch
refuses it, and so are ``numpy()``, double precision (Apple's cards have none) and operations that the card lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CARD = "meta"  # the one device besides the CPU that every build of torch knows
ATEN = torch.ops.aten
CROSSING = (ATEN.copy_.default, ATEN._to_copy.default)  # they move values from device to device
INDEXING = (ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default, ATEN._index_put_impl_.default)


class Elsewhere(torch.Tensor):
    """A tensor on the card; ``inner`` has its values."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=CARD,
        )  # fmt: skip
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        raise AssertionError(f"{function} outside of the card's block")


class _Made(TorchFunctionMode):
    """torch.tensor and torch.as_tensor drop the values on "meta"; so they are made on the CPU and moved."""

    def __torch_function__(self, function: Any, types: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        named = dict(named or {})
        if function in (torch.tensor, torch.as_tensor) and _is_card(named.get("device")):
            return function(*arguments, **{**named, "device": "cpu"}).to(CARD)
        return function(*arguments, **named)


class _Card(TorchDispatchMode):
    def __init__(self, lacking: Sequence[str], wrong: Sequence[str]) -> None:
        super().__init__()
        self.lacking, self.wrong, self.used = set(lacking), set(wrong), set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        named = dict(named or {})
        leaves = tree_leaves((arguments, named))
        there = [leaf for leaf in leaves if isinstance(leaf, Elsewhere)]
        if any(type(leaf) is torch.Tensor and _is_card(leaf.device) for leaf in leaves):  # as of x[[2, 0]]
            raise AssertionError(f"{function}: a tensor without values, which torch made past the card")
        moved = named.get("device")
        on_card = _is_card(moved) if moved is not None else bool(there)
        if on_card:
            self.used.add(function.overloadpacket.__name__)
            named |= {"device": torch.device("cpu")} if moved is not None else {}
        if there and function not in CROSSING:
            self._check(function, arguments, leaves)
        owners = {id(leaf.inner): leaf for leaf in there}
        plain, plain_named = tree_map(lambda x: x.inner if isinstance(x, Elsewhere) else x, (arguments, named))

        def placed(leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor) or not on_card:
                return leaf
            if id(leaf) in owners:  # in place
                return owners[id(leaf)]
            if any(leaf is argument for argument in arguments):  # copied into a tensor of the CPU
                return leaf
            if leaf.dtype == torch.float64:
                raise TypeError(f"{function}: the card knows no double precision")
            return Elsewhere(leaf * 1.1 if function.overloadpacket.__name__ in self.wrong else leaf)

        return tree_map(placed, function(*plain, **plain_named))

    def _check(self, function: Any, arguments: tuple, leaves: list[Any]) -> None:
        if function.overloadpacket.__name__ in self.lacking:
            raise NotImplementedError(f"{function} is not implemented for the card")
        if function in INDEXING and isinstance(arguments[0], Elsewhere):  # indices may lie on the CPU
            leaves = tree_leaves([part for number, part in enumerate(arguments) if number != 1])
        here = [leaf for leaf in leaves if type(leaf) is torch.Tensor and leaf.ndim]
        if here:
            raise RuntimeError(f"{function}: one tensor lies on the card, one of {tuple(here[0].shape)} on the CPU")


def _is_card(device: Any) -> bool:
    return device is not None and torch.device(device).type == CARD


@contextmanager
def card(lacking: Sequence[str] = (), wrong: Sequence[str] = ()) -> Iterator[_Card]:
    """Inside the block the device :data:`CARD` computes.

    Args:
        lacking: operations of ATen that it does not have.
        wrong: operations that give a tenth too much.

    Yields:
        an object whose ``used`` names the operations that ran on it.
    """
    with _Made(), _Card(lacking, wrong) as device:
        yield device
