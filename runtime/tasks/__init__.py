"""Pure decoding, one file for each task: a network's arrays in, a result out."""
