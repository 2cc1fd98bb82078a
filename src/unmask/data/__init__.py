"""From text to packed batches: the token store, examples, masking, packing, the stream."""
