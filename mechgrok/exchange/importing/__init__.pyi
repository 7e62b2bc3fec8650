from .layouts import recognize as recognize
from .making import doubt as doubt
from .making import import_run as import_run
from .reading import read as read
