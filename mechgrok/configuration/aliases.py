"""Short names of settings."""

#: The path of a setting by its short name.
ALIASES = {
    "lr": "training.learning_rate",
    "wd": "training.weight_decay",
    "transform": "training.transforms",
    "constraint": "training.constraints",
    "phase": "training.phases",
    "probe": "training.probes",
    "metric": "training.metrics",
}
