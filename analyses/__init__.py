"""Questions asked of runs: one module, one question."""
