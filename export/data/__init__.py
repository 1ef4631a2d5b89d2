"""Calibration, validation and golden data of an export. All samples pass through the model's preprocessing."""
