"""Raw media to shards: records of examples, jobs, Apache Beam, and validation."""
