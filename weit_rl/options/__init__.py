"""Options of the commands: their names, types, defaults and help, and their one-line errors."""
