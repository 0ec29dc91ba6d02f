"""What goes into a run and what it leaves on disk: seed questions, tables, the run directory."""
