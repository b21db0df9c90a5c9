"""What all experiments share: points, measurements, results, plots and the report."""
