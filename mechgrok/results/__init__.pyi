from .analysis import Analysis as Analysis
from .analysis import analyses as analyses
from .analysis import analyze as analyze
from .asking import draw as draw
from .variables import Variable as Variable
from .variables import described as described
