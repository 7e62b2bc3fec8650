"""Residues in the order in which a task is a shift: what `mechgrok.tasks.residues` knows."""

from mechgrok.tasks.residues import OrderOption as OrderOption
from mechgrok.tasks.residues import natural_order as natural_order
from mechgrok.tasks.residues import not_modular as not_modular
from mechgrok.tasks.residues import residues as residues
