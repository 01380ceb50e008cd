"""Files: atomic writes, tensor files, locks, read limits and the Hugging Face hub."""
