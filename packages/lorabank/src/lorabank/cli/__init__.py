"""The command line. Only here are logging and structlog configured."""
