"""Observers of nodes that come and go, by an object that stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Observing:
    """What ``slicer.util.VTKObservationMixin`` does, for objects that outlive what they observe.

    Slicer's mixin keeps all that it has ever observed, until :meth:`removeObservers`: each volume that was once shown
    or chosen would stay in memory with its voxels, for as long as Slicer runs. Here an object is forgotten with its
    last observer.
    """

    def __init__(self) -> None:
        self.Observations: list[tuple[Any, int, Callable[..., Any], int]] = []  # with the tag

    def addObserver(self, item: Any, event: int, method: Callable[..., Any]) -> None:
        """Call the method after the event, once however often it is added."""
        if self._find(item, event, method) is None:
            self.Observations.append((item, event, method, item.AddObserver(event, method)))

    def removeObserver(self, item: Any, event: int, method: Callable[..., Any]) -> None:
        """End it; nothing happens if it was not added."""
        index = self._find(item, event, method)
        if index is not None:
            item.RemoveObserver(self.Observations.pop(index)[3])

    def removeObservers(self) -> None:
        """End all."""
        while self.Observations:
            item, _, _, tag = self.Observations.pop()
            item.RemoveObserver(tag)

    def _find(self, item: Any, event: int, method: Callable[..., Any]) -> int | None:
        found = (n for n, entry in enumerate(self.Observations) if entry[0] is item and entry[1:3] == (event, method))
        return next(found, None)
