#!/usr/bin/env bash
# A training VM's start-up script: it runs the image on the GPU with the bucket mounted, writes the
# exit status to the bucket, and deletes the VM. Google deletes a pre-empted VM, and the next VM goes on
# from the checkpoints in the bucket.
set -uo pipefail
export HOME=/root # unset in a start-up script; docker keeps its login there
export PATH=$PATH:/snap/bin # where Ubuntu has gcloud

metadata() {
  curl --silent --fail --retry 5 --retry-connrefused --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/$1"
}

image=$(metadata attributes/image)
bucket=$(metadata attributes/bucket)
run=$(metadata attributes/run)
name=$(metadata name)
zone=$(basename "$(metadata zone)")
status=1

finish() {
  if [ "$(metadata preempted)" = FALSE ]; then # else the next VM goes on
    echo "$status" | gcloud storage cp - "gs://$bucket/runs/$run/status" --quiet
  fi
  echo "train: ended with status $status; deleting $name"
  gcloud compute instances delete "$name" --zone "$zone" --quiet
}
trap finish EXIT

for _ in $(seq 60); do # the driver may still be starting
  nvidia-smi > /dev/null 2>&1 && break
  sleep 5
done
nvidia-smi || exit 1

gcloud auth configure-docker "${image%%/*}" --quiet || exit 1
docker pull --quiet "$image" || exit 1

checkpoints=/mnt/bucket/checkpoints
mkdir -p /mnt/bucket
if ! command -v gcsfuse > /dev/null || ! gcsfuse --implicit-dirs -o allow_other \
  --uid 65532 --gid 65532 "$bucket" /mnt/bucket; then
  echo "train: the bucket cannot be mounted: after a pre-emption this run starts over"
  checkpoints=/var/checkpoints
fi
mkdir -p "$checkpoints"
chown 65532:65532 "$checkpoints" 2> /dev/null

# A pre-empted VM has 30 seconds: systemd ends this script, and docker the container, with SIGTERM.
trap : TERM # else bash would not wait for docker's status
docker run --rm --name train --gpus all --network host --shm-size 1g --stop-timeout 25 \
  --volume "$checkpoints:/checkpoints" --env CHECKPOINTS=/checkpoints \
  --env BUCKET="$bucket" --env RUN="$run" "$image"
status=$?
