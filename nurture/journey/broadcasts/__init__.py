"""Broadcasts: release, plan and send one email to many leads, beside their tracks."""
