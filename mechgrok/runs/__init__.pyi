from .checkpoint import Checkpoint as Checkpoint
from .comparison import compare as compare
from .run import Run as Run
from .soundness import verify as verify
