"""Jobs, one module per task. A job has the network, the data and the phases of a training run."""

JOBS = {
    "classify": "orilla.train.jobs.classify:classifier_job",
    "text": "orilla.train.jobs.classify:classifier_job",
    "regress": "orilla.train.jobs.regress:regress_job",
    "segment": "orilla.train.jobs.segment:segment_job",
    "detect": "orilla.train.jobs.detect:detect_job",
}
"""Functions that create the jobs. The keys are the tasks."""
