"""Values that are built when they are first read: fields of a dataclass, and what a database row's stamp dates."""

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar, cast, overload

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Deferred(Generic[T_co]):
    """A value that *build* creates once, on the first call of `get`. Thread-safe."""

    def __init__(self, build: Callable[[], T_co]) -> None:
        self._build = build
        self._built: list[T_co] = []
        self._lock = Lock()

    def get(self) -> T_co:
        """Return the value; build it on the first call."""
        with self._lock:
            if not self._built:
                self._built.append(self._build())
            return self._built[0]


class DeferredField(Generic[T]):
    """A dataclass field that accepts a value or a `Deferred` of it, and returns the value.

    *default* is used if no value is given; without one the field is required.
    """

    def __init__(self, *default: T | Deferred[T]) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        """Set the name of the attribute that holds the value."""
        self._name = f"_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> T: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T:
        """Return the value; on the class, the default, which `dataclass` reads."""
        if instance is None:
            if not self._default:
                raise AttributeError(self._name)
            return cast("T", self._default[0])
        given: Any = instance.__dict__[self._name]
        return cast("T", given.get() if isinstance(given, Deferred) else given)

    def __set__(self, instance: object, value: T | Deferred[T]) -> None:
        """Store a value or a `Deferred`."""
        instance.__dict__[self._name] = value


class StampedCache(Generic[T]):
    """The newest value, and the stamp that it was built for."""

    def __init__(self) -> None:
        self._cached: tuple[object, T] | None = None

    def get(self, stamp: object, build: Callable[[], T]) -> T:
        """Return the cached value; call *build* if *stamp* has changed."""
        if self._cached is None or self._cached[0] != stamp:
            self._cached = stamp, build()
        return self._cached[1]
