"""Published data sets on a user's disk to manifests: one short file each over one interface."""
