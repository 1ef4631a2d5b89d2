"""Reports about results: tables, plots, HTML pages and trends."""
