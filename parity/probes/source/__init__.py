"""What the models' own source does with sizes, dtypes and modes outside branches."""
