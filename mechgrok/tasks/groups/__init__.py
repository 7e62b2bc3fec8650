"""Finite groups: families by name, user tables, the composition task, representations."""
