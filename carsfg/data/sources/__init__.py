"""Image sources: the formats in which a data set is described on disk."""
