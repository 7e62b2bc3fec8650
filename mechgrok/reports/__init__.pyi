from .pages import explore as explore
from .report import report as report
