"""Affine maps M_{A->B} between feature spaces: fitted by Adam on E, or made in closed form."""
