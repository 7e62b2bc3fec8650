from .edge_popup import train_popup as train_popup
from .forking import fork as fork
from .retraining import retrain as retrain
from .tickets import train_ticket as train_ticket
