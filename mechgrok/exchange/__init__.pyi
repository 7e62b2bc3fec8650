from .exporting import export as export
from .importing import import_run as import_run
from .zoo import zoo as zoo
