"""Interventions asked of a live network, and of all of its checkpoints."""
