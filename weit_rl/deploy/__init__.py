"""Export networks as single files that run without weit_rl: what is exported, the file formats, and how files act."""
