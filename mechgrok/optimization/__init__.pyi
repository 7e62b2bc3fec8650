from .constraints import CONSTRAINTS as CONSTRAINTS
from .constraints import Constraint as Constraint
from .optimizers import OPTIMIZERS as OPTIMIZERS
from .optimizers import Optimizer as Optimizer
from .transforms import TRANSFORMS as TRANSFORMS
from .transforms import Transform as Transform
