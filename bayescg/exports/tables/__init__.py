"""Curves and splines as tables, whoever reads them."""
