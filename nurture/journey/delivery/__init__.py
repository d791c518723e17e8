"""Claim, compose and send what is due."""
