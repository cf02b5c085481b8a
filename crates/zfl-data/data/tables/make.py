#!/usr/bin/env python3
"""Makes the files beside it, as their programs write them; tests read them.

Needs numpy, pandas and pyarrow; made with numpy 2.4.6, pandas 3.1.1 and pyarrow
26.0.1, and no test makes them anew.
"""

import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent

# Six rows; every column goes from its smallest to its largest value in steps of a fifth.
NUMBERS = np.arange(6)
STATES = ["off", "on", "on", "standby", "off", "on"]
MACHINES = ["m2", "m2", "m1", "m1", "m2", "m1"]


def tables():
    frame = pd.DataFrame(
        {
            "whole": NUMBERS - 2,
            "real": NUMBERS * 0.5 + 10.0,
            "flag": NUMBERS % 2 == 1,
            "machine": pd.Categorical(MACHINES),
            "state": STATES,
        },
        index=[10, 20, 30, 40, 50, 60],
    )
    frame.to_csv(HERE / "pandas.csv")
    frame.to_parquet(HERE / "pandas.parquet")

    # Small pages and row groups, another page format, encodings and types.
    table = pa.table(
        {
            "whole": pa.array(NUMBERS + 250, pa.uint8()),
            "real": pa.array(NUMBERS * 0.5 + 10.0, pa.float32()),
            "large": pa.array([2**63 + int(i) * 2**60 for i in NUMBERS], pa.uint64()),
            "state": pa.array(NUMBERS % 3, pa.int8()),
            "machine": pa.array(MACHINES),
        }
    )
    pq.write_table(
        table,
        HERE / "zstd.parquet",
        compression="zstd",
        data_page_version="2.0",
        row_group_size=4,
        use_dictionary=False,
        column_encoding={"real": "BYTE_STREAM_SPLIT", "machine": "DELTA_LENGTH_BYTE_ARRAY"},
    )
    pq.write_table(table, HERE / "gzip.parquet", compression="gzip")

    unusual = pa.table(
        {
            "gap": pa.array([1.0, 2.0, None, 4.0, 5.0, 6.0]),
            "nan": pa.array([1.0, 2.0, 3.0, float("nan"), 5.0, 6.0]),
            "time": pa.array(NUMBERS, pa.timestamp("ms")),
            "list": pa.array([[i] for i in range(6)]),
            "half": pa.array(NUMBERS.astype(np.float16)),
            "text": pa.array(["high"] * 6),
            "bytes": pa.array([b"\xff"] * 6),
            "good": pa.array(NUMBERS),
            "state": pa.array(STATES),
        }
    )
    pq.write_table(unusual, HERE / "unusual.parquet", compression="none")


def arrays():
    numbers = NUMBERS.astype(np.float32)
    rows = np.stack([numbers - 2, numbers * 0.5 + 10], axis=1)
    images = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    named = {
        "images": images,
        "rows": rows,
        "fortran": np.asfortranarray(np.arange(24.0).reshape(6, 2, 2)),
        "big_endian": rows.astype(">f8"),
        "flags": np.stack([NUMBERS % 2 == 1, NUMBERS > 2], axis=1),
        "labels": np.array([7, 3, 3, 10, 7, 3]),
        "column": np.array([7, 3, 3, 10, 7, 3], dtype=np.int16).reshape(6, 1),
        "texts": np.array(STATES),
        "machines": np.array(MACHINES),
        "few": np.array([1, 2]),
        "gap": np.where(numbers == 4, np.nan, numbers).reshape(6, 1),
        "half": rows.astype(np.float16),
        "complex": rows.astype(np.complex64),
        "bytes": np.array([b"a"] * 6),
        "pickled": np.array([{}] * 6, dtype=object),
        "structure": np.zeros(6, dtype=[("a", "<f4"), ("b", "<f4")]),
        "test_images": images[:2] + 100,
        "test_labels": np.array([3, 10]),
    }
    np.savez(HERE / "arrays.npz", **named)
    np.savez_compressed(HERE / "compressed.npz", **{name: named[name] for name in ["rows", "labels"]})
    # Zeros that unpack to two hundred times as many bytes.
    np.savez_compressed(HERE / "bomb.npz", rows=np.zeros((50_000, 2)), labels=named["labels"])


if __name__ == "__main__":
    tables()
    arrays()
