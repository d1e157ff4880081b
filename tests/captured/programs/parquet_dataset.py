"""Write a partitioned Parquet data set with pyarrow, and its ``_metadata``."""

import pyarrow as pa
import pyarrow.parquet as pq

rows = pa.table({"day": [1, 1, 2, 2], "count": [3, 4, 5, 6]})
files = []
pq.write_to_dataset(rows, "out/visits", partition_cols=["day"], metadata_collector=files)
pq.write_metadata(pa.schema([rows.schema.field("count")]), "out/visits/_metadata", files)
