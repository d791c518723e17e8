"""Limit the memory and CPU time of a child process that reads files or mail of strangers."""

import resource
from pathlib import Path


def limit_memory(memory: int) -> None:
    """Allow *memory* more bytes of address space than are in use now, and write no core dump."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would write personal data to disk
    _set_limit(resource.RLIMIT_AS, _address_space_bytes() + memory)


def limit_cpu(seconds: int) -> None:
    """Allow *seconds* more of CPU time. The limit counts whole seconds since the process started."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set_limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _address_space_bytes() -> int:
    """Return the size of the address space in bytes, or 0 where it is not available: only Linux limits it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text("ascii").split()[0]) * resource.getpagesize() if statm.exists() else 0


def _set_limit(kind: int, limit: int) -> None:
    """Set a limit, capped by the hard limit."""
    _, hard_limit = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if hard_limit == resource.RLIM_INFINITY else min(limit, hard_limit), hard_limit))
