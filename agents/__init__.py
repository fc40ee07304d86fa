"""The service at a site: measure on a steady beat, keep results on disk, send them when the line allows."""
