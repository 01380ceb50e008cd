"""Do the work of the commands, once their options are read: one file per command, and what they share."""
