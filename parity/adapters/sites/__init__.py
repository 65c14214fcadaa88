"""Where in the user's own files something is written: a step that runs, and a layer that was made."""
