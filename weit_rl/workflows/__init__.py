"""What the verbs do once their options are read: one file a verb, and what they share in ``setup``."""
