"""What training reads and writes: manifests, shards, batches, and mixed examples."""
