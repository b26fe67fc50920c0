#!/bin/bash
# A run on the hosts of a SLURM job:
#
#   sbatch --nodes=3 deploy/slurm.sh SOURCE DIR [--set KEY=VALUE ...]
#
# SOURCE is a recording or the address of a live stream. braggstream[cluster] is on the PATH of the
# job, at the same place on all hosts, and all of them see DIR, the recording and the home folder.
# Submitted again, or put back into the queue, it goes on with a run in DIR that did not end.
#SBATCH --job-name=braggstream
#SBATCH --ntasks-per-node=1 --exclusive --no-kill
#SBATCH --signal=B:TERM@180
set -euo pipefail
source=$1 out=$2
shift 2
[ ! -e "$out/run.json" ] || set -- --resume "$@"

# The first network of this host, which is not always its fastest: ADDRESS=10.1.0.5 sbatch ...
address=${ADDRESS:-$(hostname -I | cut -d ' ' -f 1)}
# Several jobs may be on one host, where they are not exclusive.
scheduler=tls://$address:$((20000 + SLURM_JOB_ID % 10000))

# Whoever reaches Dask's scheduler runs programs with it: only who has this certificate does.
keys=$(mktemp --directory "$HOME/.braggstream-$SLURM_JOB_ID-XXXXXX")
trap 'rm -rf "$keys"' EXIT
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=braggstream \
  -keyout "$keys/key.pem" -out "$keys/cert.pem" 2>/dev/null
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true
export DASK_DISTRIBUTED__COMM__TLS__CA_FILE=$keys/cert.pem
for role in SCHEDULER WORKER CLIENT; do
  export "DASK_DISTRIBUTED__COMM__TLS__${role}__KEY=$keys/key.pem"
  export "DASK_DISTRIBUTED__COMM__TLS__${role}__CERT=$keys/cert.pem"
done

export DASK_LOGGING__DISTRIBUTED=warning
dask scheduler --host "${scheduler%:*}" --port "${scheduler##*:}" --no-dashboard &
dask=$!
# A worker for each host, with all the cores of the job there, which outlives those of other hosts.
srun --no-kill --kill-on-bad-exit=0 --overlap --mem=0 \
  --cpus-per-task="$SLURM_CPUS_ON_NODE" --cpu-bind=none \
  dask worker "$scheduler" --nworkers 1 --nthreads 1 --memory-limit 0 --no-dashboard &
workers=$!

case $source in *://*) how=attach ;; *) how=replay ;; esac
braggstream "$how" "$source" --out "$out" --set placement.engine=dask \
  --set placement.scheduler="$scheduler" --set placement.hosts="$SLURM_NNODES" "$@" &
launcher=$!
# scancel, or the end of the job's time: what is on its way is put on disk.
trap 'kill -TERM "$launcher"' TERM
while kill -0 "$launcher" 2>/dev/null; do wait "$launcher" || true; done
code=0
wait "$launcher" || code=$?
{ kill "$workers" && wait "$workers"; } 2>/dev/null || true
kill "$dask" 2>/dev/null || true
exit "$code"
