"""How values of a parameter node are checked and kept as text in the node, under the names that Slicer uses."""

from __future__ import annotations

import enum
import pathlib
import typing
from collections.abc import Callable, Iterable, MutableSequence
from typing import Any

import slicer


class Scalar:
    """One value as the text of one parameter."""

    def __init__(
        self,
        kind: type,
        default: Any,
        toText: Callable[[Any], str] = str,
        fromText: Callable[[str], Any] | None = None,
        instances: type | tuple[type, ...] | None = None,
        noneAllowed: bool = False,
    ) -> None:
        self.kind, self.default = kind, default
        self._toText, self._fromText = toText, fromText or kind
        self._instances, self._noneAllowed = instances or kind, noneAllowed

    def fits(self, value: Any) -> bool:
        # A bool is no int here, and a Path is a PosixPath.
        return type(value) is self.kind if self.kind in (int, float) else isinstance(value, self.kind)

    def check(self, value: Any) -> None:
        if value is None and not self._noneAllowed:
            raise ValueError("The value must not be None")
        if value is not None and not isinstance(value, self._instances):
            raise TypeError(f"{value!r} is not of {self._instances}")

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, self._toText(value))

    def read(self, node: Any, name: str) -> Any:
        return self._fromText(node.GetParameter(name))

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)


class NodeReference(Scalar):
    """A node of the scene as a node reference; the empty parameter says that it was written, None included."""

    def __init__(self, kind: type) -> None:
        super().__init__(kind, None, noneAllowed=True)

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        super().remove(node, name)
        node.RemoveNodeReferenceIDs(name)


class Nothing(Scalar):
    """The None of an Optional."""

    def __init__(self) -> None:
        super().__init__(type(None), None, lambda value: "True", lambda text: None, noneAllowed=True)


class Sequence:
    """A list: its length as ``name_len``, its items as ``name_0`` and so on."""

    def __init__(self, item: Any) -> None:
        self._item = item
        self.default: list[Any] = []

    def fits(self, value: Any) -> bool:
        return isinstance(value, list | ObservedList)

    def check(self, value: Any) -> None:
        for item in value:
            self._item.check(item)

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}_len"))

    def write(self, node: Any, name: str, value: Iterable[Any]) -> None:
        items = list(value)
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            for index, item in enumerate(items):
                self._item.write(node, f"{name}_{index}", item)
            node.SetParameter(f"{name}_len", str(len(items)))

    def read(self, node: Any, name: str) -> ObservedList:
        length = int(node.GetParameter(f"{name}_len"))
        items = [self._item.read(node, f"{name}_{index}") for index in range(length)]
        return ObservedList(items, lambda changed: self._save(node, name, changed))

    def _save(self, node: Any, name: str, items: list[Any]) -> None:
        self.check(items)
        self.write(node, name, items)

    def remove(self, node: Any, name: str) -> None:
        if self.isIn(node, name):
            for index in range(int(node.GetParameter(f"{name}_len"))):
                self._item.remove(node, f"{name}_{index}")
            node.UnsetParameter(f"{name}_len")


class ObservedList(MutableSequence):
    """A list that writes itself back when it changes."""

    def __init__(self, items: list[Any], save: Callable[[list[Any]], None]) -> None:
        self._items, self._save = items, save

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, ObservedList) else other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"ObservedList({self._items})"

    def _change(self, change: Callable[[list[Any]], Any]) -> None:
        changed = list(self._items)
        change(changed)
        self._save(changed)
        self._items = changed

    def __setitem__(self, index: Any, value: Any) -> None:
        self._change(lambda items: items.__setitem__(index, value))

    def __delitem__(self, index: Any) -> None:
        self._change(lambda items: items.__delitem__(index))

    def insert(self, index: int, value: Any) -> None:
        self._change(lambda items: items.insert(index, value))


class Union:
    """One of several types: the parameter's name gets the number of the type at its end."""

    def __init__(self, members: list[Any]) -> None:
        self._members = members
        optional = len(members) == 2 and isinstance(members[1], Nothing)
        self.default = None if optional else members[0].default

    def fits(self, value: Any) -> bool:
        return any(member.fits(value) for member in self._members)

    def check(self, value: Any) -> None:
        if not self.fits(value):
            raise TypeError(f"{value!r} is none of {[getattr(member, 'kind', member) for member in self._members]}")

    def isIn(self, node: Any, name: str) -> bool:
        return any(member.isIn(node, f"{name}_{index}") for index, member in enumerate(self._members))

    def write(self, node: Any, name: str, value: Any) -> None:
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            index = next(index for index, member in enumerate(self._members) if member.fits(value))
            self._members[index].write(node, f"{name}_{index}", value)

    def read(self, node: Any, name: str) -> Any:
        numbered = [(f"{name}_{index}", member) for index, member in enumerate(self._members)]
        return next(member.read(node, key) for key, member in numbered if member.isIn(node, key))

    def remove(self, node: Any, name: str) -> None:
        for index, member in enumerate(self._members):
            member.remove(node, f"{name}_{index}")


def split(annotated: Any) -> tuple[Any, list[Any]]:
    """A type and its annotations, none for a plain type."""
    if typing.get_origin(annotated) is typing.Annotated:
        return annotated.__origin__, list(annotated.__metadata__)
    return annotated, []


def makeSerializer(annotated: Any) -> Any:
    """The keeper of a type.

    Raises:
        TypeError: Slicer could not keep the type either. ``A | None`` is such a type in Slicer 5.12 on Python 3.12,
            where it is not a ``typing.Union``: write ``Optional[A]``.
    """
    kind = split(annotated)[0]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (int, float):
        return Scalar(kind, 0, instances=(int, float) if kind is float else int)
    if kind is str:
        return Scalar(str, "")
    if kind is bool:
        return Scalar(bool, False, fromText=lambda text: text == "True")
    if kind in (pathlib.Path, pathlib.PurePath, pathlib.PosixPath, pathlib.PurePosixPath):
        return Scalar(kind, kind())
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        first = next(iter(kind))
        return Scalar(kind, first, lambda value: value.name, lambda text: kind[text], noneAllowed=True)
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return NodeReference(kind)
    if kind is type(None):
        return Nothing()
    if origin is list and len(arguments) == 1:
        return Sequence(makeSerializer(arguments[0]))
    if origin is typing.Union:
        return Union([makeSerializer(argument) for argument in arguments])
    raise TypeError(f"Unable to create serializer for type: {kind}")
