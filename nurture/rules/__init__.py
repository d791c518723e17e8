"""The files that marketers and sales write, checked as a whole and turned into domain values."""

from nurture.rules.bundle import Rules, TrackRules, check, load, misfits, read
from nurture.rules.change import describe_change
from nurture.rules.folder import Sources, read_folder, survey_folder
from nurture.rules.reading import lines_of
from nurture.rules.sending import load_sending

__all__ = [
    "Rules",
    "Sources",
    "TrackRules",
    "check",
    "describe_change",
    "lines_of",
    "load",
    "load_sending",
    "misfits",
    "read",
    "read_folder",
    "survey_folder",
]
