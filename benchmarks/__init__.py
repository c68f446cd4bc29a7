"""What explanations cost with this project's engine, beside captum, one text at a time, and plain batches."""
