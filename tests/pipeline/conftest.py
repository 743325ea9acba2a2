"""What several tests of this package use."""

from support.chunk_bench import make_bench

__all__ = ["make_bench"]
