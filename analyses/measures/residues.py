"""Residues in the order in which a task is a shift, from `mechgrok.tasks.residues`."""

from mechgrok.tasks.residues import OrderOption as OrderOption
from mechgrok.tasks.residues import natural_order as natural_order
from mechgrok.tasks.residues import not_modular as not_modular
from mechgrok.tasks.residues import residues as residues
