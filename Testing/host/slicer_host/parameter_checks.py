"""What a parameter may be: the annotations that refuse values, and its default."""

from __future__ import annotations

from typing import Any


class Validator:
    """Refuses values by raising ValueError."""

    def __init__(self, *arguments: Any) -> None:
        for name, value in zip(self.names, arguments, strict=True):
            setattr(self, name, value)

    names: tuple[str, ...] = ()

    def accepts(self, value: Any) -> bool:
        raise NotImplementedError

    def validate(self, value: Any) -> None:
        if not self.accepts(value):
            limits = ", ".join(repr(getattr(self, name)) for name in self.names)
            raise ValueError(f"{value!r} does not fit {type(self).__name__}({limits})")


class NotNone(Validator):
    """Any value but None."""

    def accepts(self, value: Any) -> bool:
        return value is not None


class WithinRange(Validator):
    """From minimum to maximum, both included."""

    names = ("minimum", "maximum")

    def accepts(self, value: Any) -> bool:
        return self.minimum <= value <= self.maximum


class Minimum(Validator):
    """At least minimum."""

    names = ("minimum",)

    def accepts(self, value: Any) -> bool:
        return value >= self.minimum


class Maximum(Validator):
    """At most maximum."""

    names = ("maximum",)

    def accepts(self, value: Any) -> bool:
        return value <= self.maximum


class Choice(Validator):
    """One of the choices."""

    names = ("choices",)

    def accepts(self, value: Any) -> bool:
        return value in self.choices


class Exclude(Validator):
    """None of the excluded values."""

    names = ("excludedValues",)

    def accepts(self, value: Any) -> bool:
        return value not in self.excludedValues


class Default:
    """The value that a parameter starts with."""

    def __init__(self, value: Any) -> None:
        self.value = value
