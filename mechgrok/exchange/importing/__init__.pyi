from .layouts import recognize as recognize
from .making import chance_level_warning as chance_level_warning
from .making import doubt as doubt
from .making import import_run as import_run
from .reading import read as read
