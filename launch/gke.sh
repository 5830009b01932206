#!/usr/bin/env bash
# Trains on TPUs of a Kubernetes (GKE) cluster with JobSet: writes the JobSet and applies it.
#   NAME=mine IMAGE=... TYPE=tpu-v5-lite-podslice TOPOLOGY=2x4 HOSTS=2 CHIPS=4 CLAIM=runs \
#     launch/gke.sh --config=configs/joint.py --workdir=/runs/mine
# NAME: of the JobSet; IMAGE: a container with this package; TYPE and TOPOLOGY: of the node pool;
# HOSTS: its machines; CHIPS: of each; CLAIM: a volume claim that all machines may write, mounted
# on /runs. A preempted pod (status 75) is started again and does not count as a failure; a
# mistake (status 2) ends the job. --dry-run, as the first argument, prints the JobSet instead.
set -euo pipefail
dry=0
if [[ ${1:-} == --dry-run ]]; then
  dry=1
  shift
fi
: "${NAME:?error: NAME is empty, expected a name for the job}"
: "${IMAGE:?error: IMAGE is empty, expected a container image with this package}"
: "${TYPE:?error: TYPE is empty, expected a node pool such as tpu-v5-lite-podslice}"
: "${TOPOLOGY:?error: TOPOLOGY is empty, expected one such as 2x4}"
: "${HOSTS:?error: HOSTS is empty, expected the number of machines}"
: "${CHIPS:?error: CHIPS is empty, expected the chips of a machine}"
: "${CLAIM:?error: CLAIM is empty, expected a volume claim for the runs}"

# A string in single quotes of YAML.
quoted() {
  printf "'%s'" "${1//\'/\'\'}"
}

manifest() {
  cat <<YAML
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $(quoted "$NAME")
spec:
  failurePolicy:
    maxRestarts: ${RESTARTS:-3}
    rules:
      - action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: train
      replicas: 1
      template:
        spec:
          parallelism: $HOSTS
          completions: $HOSTS
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes: {containerName: train, operator: In, values: [2]}
              - action: Ignore
                onExitCodes: {containerName: train, operator: In, values: [75]}
              - action: Ignore
                onPodConditions: [{type: DisruptionTarget, status: "True"}]
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 180
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $(quoted "$TYPE")
                cloud.google.com/gke-tpu-topology: $(quoted "$TOPOLOGY")
              containers:
                - name: train
                  image: $(quoted "$IMAGE")
                  command: [python, -m, vssflow_jax.train, --coordinator_address=auto]
                  args:
$(for argument in "$@"; do echo "                    - $(quoted "$argument")"; done)
                  resources:
                    limits: {google.com/tpu: $CHIPS}
                  volumeMounts:
                    - {name: runs, mountPath: /runs}
              volumes:
                - name: runs
                  persistentVolumeClaim: {claimName: $(quoted "$CLAIM")}
YAML
}

if [[ $dry == 1 ]]; then
  manifest "$@"
else
  manifest "$@" | kubectl apply -f -
fi
