"""Jobs: the network, data and phases of one training, by task."""

JOBS = {
    "classify": "orilla.train.jobs.classify:classifier_job",
    "text": "orilla.train.jobs.classify:classifier_job",
    "segment": "orilla.train.jobs.road:road_job",
}
"""Task of a plan to the function that makes its job."""
