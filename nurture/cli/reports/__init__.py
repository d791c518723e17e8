"""Commands of `nurture reports`, a file for each large one."""
