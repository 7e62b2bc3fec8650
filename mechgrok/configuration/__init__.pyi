from .phase import Phase as Phase
from .run_config import RunConfig as RunConfig
from .run_config import resolve_config as resolve_config
from .training import TrainingConfig as TrainingConfig
