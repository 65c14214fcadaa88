"""Every reader and parser, given what nobody wrote on purpose: only the errors that it names may come out."""
