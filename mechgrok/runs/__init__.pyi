from .checkpoint import Checkpoint as Checkpoint
from .comparison import compare as compare
from .exporting import export as export
from .importing import import_run as import_run
from .run import Run as Run
from .run import create_run as create_run
from .tickets import train_popup as train_popup
from .tickets import train_ticket as train_ticket
