from .run_config import RunConfig as RunConfig
from .run_config import configured as configured
from .training import TrainingConfig as TrainingConfig
