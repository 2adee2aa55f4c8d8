"""What runs came to: scores, tables, the report."""
