"""Files by URI: local folders, object stores, Parquet files, and manifests that say what is finished."""
