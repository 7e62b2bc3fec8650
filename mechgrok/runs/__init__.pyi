from .checkpoint import Checkpoint as Checkpoint
from .comparison import compare as compare
from .run import Run as Run
from .run import RunCollection as RunCollection
from .run import RunLike as RunLike
from .run import open_run as open_run
from .soundness import verify as verify
