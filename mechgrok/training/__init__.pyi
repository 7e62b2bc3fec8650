from .course import Interrupted as Interrupted
from .course import Progress as Progress
from .divergence import Diverged as Diverged
from .loop import evaluate as evaluate
from .loop import resume as resume
from .loop import train as train
from .optimizers import Optimizer as Optimizer
