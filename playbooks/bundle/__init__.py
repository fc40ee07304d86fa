"""`make bundle`: everything that sites without internet install, in one folder with checksums."""
