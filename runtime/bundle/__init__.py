"""The bundle: one model's variants with everything they need to run and to prove themselves."""
