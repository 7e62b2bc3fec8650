from .base import Drawn as Drawn
from .base import Start as Start
from .low_rank import LowRank as LowRank
from .planted import Planted as Planted
from .reading import STARTS as STARTS
from .transplant import Transplant as Transplant
from .waves import Waves as Waves
