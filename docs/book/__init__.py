"""What `make docs` writes beyond the documents: the handbook of causes, the layers' table, and the site's pages."""
