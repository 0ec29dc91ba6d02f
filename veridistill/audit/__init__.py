"""How good the judges of a run are, measured against labels."""
