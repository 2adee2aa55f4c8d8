"""What was attained: from histograms on pages to shares within the objective and what is left of its budget."""
