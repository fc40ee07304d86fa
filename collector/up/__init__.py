"""`nhip up`: everything on this machine in one command, so that a newcomer sees real measurements in a minute."""
