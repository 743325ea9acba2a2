#!/usr/bin/env python3
"""Turn an f16 GGML whisper file into q5_1 or q8_0, as whisper.cpp's `quantize` does.

    python quantize.py out/ggml-phonebook.bin ggml-phonebook-q5_1.bin q5_1

Matrices are quantised in blocks of 32 values along their rows; convolutions, biases, norms and
positional embeddings stay as they are. The block layouts are those of ggml (`ggml-quants.c`).
"""
import argparse
import struct
from pathlib import Path

import numpy as np

BLOCK = 32
TYPES = {"q5_1": (7, 9), "q8_0": (8, 7)}      # name -> (ggml_type of a tensor, ggml_ftype of the file)
QUANT_VERSION = 2                             # GGML_QNT_VERSION; the file stores version * 1000 + ftype


def q8_0(rows):
    """One f16 scale and 32 signed bytes for each block."""
    x = rows.reshape(-1, BLOCK)
    scale = np.abs(x).max(1, keepdims=True) / 127
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    q = np.rint(x * inverse).astype(np.int8)
    return np.concatenate([scale.astype("<f2").view(np.uint8), q.view(np.uint8)], 1).tobytes()


def q5_1(rows):
    """f16 scale and minimum, the 32 fifth bits, and 16 bytes of two low nibbles for each block."""
    x = rows.reshape(-1, BLOCK)
    low = x.min(1, keepdims=True)
    scale = (x.max(1, keepdims=True) - low) / 31
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    q = np.clip((x - low) * inverse + 0.5, 0, 31).astype(np.uint8)
    nibbles = (q[:, :16] & 15) | ((q[:, 16:] & 15) << 4)
    high = np.packbits(q >> 4, axis=1, bitorder="little")
    halves = np.concatenate([scale, low], 1).astype("<f2").view(np.uint8)
    return np.concatenate([halves, high, nibbles], 1).tobytes()


def quantize(source, target, name):
    """Write `target`; tensors that are not two-dimensional f16 matrices are copied."""
    data = Path(source).read_bytes()
    tensor_type, ftype = TYPES[name]
    encode = {"q5_1": q5_1, "q8_0": q8_0}[name]
    at = 44
    n_mel, n_fft = struct.unpack_from("<2i", data, at + 4)
    at += 12 + 4 * n_mel * n_fft
    n_tokens, = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(n_tokens):
        at += 4 + struct.unpack_from("<i", data, at)[0]
    with open(target, "wb") as out:
        out.write(data[:44] + struct.pack("<i", QUANT_VERSION * 1000 + ftype) + data[48:at])
        while at < len(data):
            n_dims, length, kind = struct.unpack_from("<3i", data, at)
            dims = struct.unpack_from(f"<{n_dims}i", data, at + 12)
            head = at + 12 + 4 * n_dims
            key = data[head:head + length]
            size = int(np.prod(dims)) * (2 if kind == 1 else 4)
            body = data[head + length:head + length + size]
            at = head + length + size
            if n_dims == 2 and kind == 1 and dims[0] % BLOCK == 0:
                body = encode(np.frombuffer(body, "<f2").astype(np.float32))
                kind = tensor_type
            out.write(struct.pack("<3i", n_dims, length, kind) + struct.pack(f"<{n_dims}i", *dims) + key + body)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("source")
    ap.add_argument("target")
    ap.add_argument("type", choices=sorted(TYPES))
    args = ap.parse_args()
    quantize(args.source, args.target, args.type)
    print("wrote", args.target)
