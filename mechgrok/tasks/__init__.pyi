from .base import Criterion as Criterion
from .base import Examples as Examples
from .base import Task as Task
from .custom import task as task
from .losses import Regression as Regression
from .making import make_task as make_task
from .making import saved_task as saved_task
