"""The files that marketers and sales write, checked as a whole and turned into domain values."""

from nurture.definitions.folder import Sources, read_folder, survey_folder
from nurture.definitions.project import Rules, TrackRules, check, load, misfits, read
from nurture.definitions.sending_limits import load_sending
from nurture.definitions.track_change import describe_change
from nurture.definitions.yaml_reader import lines_of

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
