"""The scores of an analysis, row by row, as a Parquet file in the object store."""

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.analysis_retention import scores_key
from storage.jobs import AnalyticsJob
from storage.objects import ObjectStore


def store_scores(objects: ObjectStore, job: AnalyticsJob, scores: pa.Table) -> dict[str, Any]:
    """Store the scores, and return what the job's result says of the file."""
    sink = pa.BufferOutputStream()
    pq.write_table(scores, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    key = scores_key(job)
    objects.put(key, content)
    return {
        "key": key,
        "rows": len(scores),
        "columns": scores.column_names,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
