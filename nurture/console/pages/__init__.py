"""The pages of the console, one file each; every file defines its `PAGE`."""
