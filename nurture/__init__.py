"""Keep every not-yet-ready lead warm, and hand it to the right salesperson at the right time."""

__version__ = "0.1.0"
