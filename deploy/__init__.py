"""All that Google Cloud runs or reads, by task.

setup: resources.yaml says what there is, roles.yaml who may do what; train: on a VM or Vertex AI;
release: images, then the server on Cloud Run or Vertex AI; score: files, on Dataflow; check: the
files here, and the bucket. google.py knows the region and names everything.
"""
