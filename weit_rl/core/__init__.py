"""The method: plans, template banks, constraints, composed networks and resizing."""
