"""Reports of results: tables, plots, pages and trends."""
