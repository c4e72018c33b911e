"""All that Google Cloud runs or reads, by task.

setup: resources.yaml says what there is, roles.yaml who may do what; train: on a VM or Vertex AI;
release: images, then the server on Cloud Run or Vertex AI; score.py: files, on Dataflow; watch.py:
the daily report; check: the files here, and the bucket. google.py names everything and the region.
"""
