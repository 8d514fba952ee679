"""Reading what users have: files, folders and data sets in memory, as columns. Needs pyarrow."""
