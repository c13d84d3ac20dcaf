//! How bytes get somewhere and back: plan of a run, pipeline, change detection, records, verify.
