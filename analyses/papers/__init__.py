"""Figures, tables and claims of "Bridging Lottery Ticket and Grokking", made from nothing.

Minegishi, Iwasawa and Matsuo, arXiv 2310.19470, versions 2 and 3 (TMLR 2025).
"""
