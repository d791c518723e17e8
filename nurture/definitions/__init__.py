"""The files that marketers and sales write, checked as a whole and turned into domain values."""

from nurture.definitions.folder import Sources, read_folder, scan_folder
from nurture.definitions.project import ProjectDefinitions, TrackDefinition, check, find_policy_mismatches, load, read
from nurture.definitions.sending_limits import load_sending
from nurture.definitions.track_change import removed_steps
from nurture.definitions.yaml_reader import line_numbers

__all__ = [
    "ProjectDefinitions",
    "Sources",
    "TrackDefinition",
    "check",
    "find_policy_mismatches",
    "line_numbers",
    "load",
    "load_sending",
    "read",
    "read_folder",
    "removed_steps",
    "scan_folder",
]
