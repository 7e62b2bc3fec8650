from .edge_popup import train_popup as train_popup
from .forking import fork as fork
from .tickets import train_ticket as train_ticket
