"""What the batcher costs, next to what people would use instead and to the least code that batches at all.

``python -m benchmarks`` measures everything, ``python -m benchmarks a --quick`` one scenario at a twentieth of its
size.
"""
