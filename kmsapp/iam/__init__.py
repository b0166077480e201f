"""Identities: who people and programs are, and how they prove it."""
