#!/bin/sh
# Takes the edge out of use and returns when its last call has ended. Kubernetes runs it before it stops the pod, inside
# terminationGracePeriodSeconds; from then on OPTIONS and INVITE get 503 and /readyz fails.
set -u
control="${KAM_CTL:?the socket of kamcmd}"
kamcmd -s "$control" htable.seti edge drain 1 >/dev/null || exit 0   # nothing runs: nothing to drain
while :; do
	active=$(kamcmd -s "$control" stats.fetchn dialog:active_dialogs | awk '/active_dialogs/ {print $NF}')
	early=$(kamcmd -s "$control" stats.fetchn dialog:early_dialogs | awk '/early_dialogs/ {print $NF}')
	[ "${active:-0}" -eq 0 ] && [ "${early:-0}" -eq 0 ] && exit 0
	sleep "${DRAIN_POLL_S:-2}"
done
