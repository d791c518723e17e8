"""Fields of a dataclass whose values are built when they are first read."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar, cast, overload

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Deferred(Generic[T_co]):
    """A value that *build* makes once, when it is first asked for; several threads may ask."""

    def __init__(self, build: Callable[[], T_co]) -> None:
        self._build = build
        self._built: list[T_co] = []
        self._lock = Lock()

    def get(self) -> T_co:
        """Return the value, building it first where that was not done yet."""
        with self._lock:
            if not self._built:
                self._built.append(self._build())
            return self._built[0]


class DeferredField(Generic[T]):
    """A field that is given a value, or a `Deferred` of it, and returns the value.

    *default* stands where no value is given; without one the field is required.
    """

    def __init__(self, *default: T | Deferred[T]) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn under which name the value is kept."""
        self._name = f"_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> T: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T:
        """Return the value. Of the class itself a dataclass asks for the default."""
        if instance is None:
            if not self._default:
                raise AttributeError(self._name)
            return cast("T", self._default[0])
        given: Any = instance.__dict__[self._name]
        return cast("T", given.get() if isinstance(given, Deferred) else given)

    def __set__(self, instance: object, value: T | Deferred[T]) -> None:
        """Keep a value, or what builds it."""
        instance.__dict__[self._name] = value
