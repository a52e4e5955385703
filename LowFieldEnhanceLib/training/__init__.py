"""Training recipes, one a network; run as ``lowfield-enhance train <network>``. Imported only by the command line."""
