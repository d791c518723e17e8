"""Run leads through the real engine on a virtual clock."""
