"""The data of an export: calibration, validation and golden samples, all read through the model's preprocessing."""
