from .base import LOGGERS as LOGGERS
from .base import Logger as Logger
from .base import find_loggers as find_loggers
from .base import log as log
from .base import logged as logged
