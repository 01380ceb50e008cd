"""Networks as single files that run elsewhere: what is exported, in which formats, and how a file acts."""
