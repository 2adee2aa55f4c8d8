"""What is told of an advice: sentences, tables, the page."""
