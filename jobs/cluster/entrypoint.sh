#!/usr/bin/env bash
# rayjob.yaml's entrypoint: run a command, and stop the Ray job if its experiment is bad.
#
#     entrypoint.sh JOB COMMAND ...
#
# A RayJob makes a new cluster for each job that ends as FAILED, whatever its exit code. A job that ends as STOPPED is
# not tried again, and does not count as a success either. So exit code 2 (a bad experiment) stops the Ray job JOB from
# inside. If that fails, the exit code stays 2, and the RayJob tries again, backoffLimit times at most.
set -uo pipefail
job=$1
shift

"$@"
code=$?

if [ "$code" -eq 2 ]; then
    echo "The experiment is bad (exit code 2), so this RayJob is stopped, not tried again: see the error above." >&2
    ray job stop "$job" # where RAY_ADDRESS says, which Ray gives to jobs; it ends this script, too
fi
exit "$code"
