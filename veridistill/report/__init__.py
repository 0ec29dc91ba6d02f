"""What a run shows to people: `report.html` (page) and progress while it runs."""
