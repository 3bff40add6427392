"""What people and other tools read of a run: `html.write_reports` writes all of it."""
