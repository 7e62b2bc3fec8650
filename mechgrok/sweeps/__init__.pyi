from .folder import Sweep as Sweep
from .plan import Member as Member
from .plan import Plan as Plan
from .plan import Stage as Stage
from .running import SweepFailed as SweepFailed
from .running import SweepInterrupted as SweepInterrupted
from .running import sweep as sweep
from .survival import Waiting as Waiting
