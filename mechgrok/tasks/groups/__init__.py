"""Finite groups: families by name, a table of one's own, the task of composing, representations."""
