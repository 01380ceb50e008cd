"""The method: plans, template banks, composed networks, resizing and growing."""
