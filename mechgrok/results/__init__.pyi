from .analysis import Analysis as Analysis
from .analysis import analyses as analyses
from .variables import Variable as Variable
from .variables import described as described
