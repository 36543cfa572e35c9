"""What a fit says of rows, old and new, and how well."""
