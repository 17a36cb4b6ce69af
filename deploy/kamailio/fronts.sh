#!/bin/sh
# Keeps the dispatcher list in step with the fronts' names: Kamailio drops a name it cannot resolve for good, and a
# restarted front has another address. FRONTS is a list of host:port; the place in it is the front's slot.
#   fronts.sh once    write the list, tell a running Kamailio, end (an init container)
#   fronts.sh         the same every FRONTS_POLL_S seconds (a sidecar)
set -u
target="${KAM_DISPATCHER:?the dispatcher list}"

write_list() {
	slot=0
	for front in ${FRONTS:?host:port ...}; do
		address=$(getent ahostsv4 "${front%:*}" | awk 'NR == 1 {print $1}')
		[ -n "$address" ] && echo "1 sip:$address:${front##*:};transport=udp 0 0 duid=front-$slot"
		slot=$((slot + 1))
	done
}

while :; do
	write_list >"$target.part"
	if cmp -s "$target.part" "$target"; then
		rm -f "$target.part"
	else
		mv "$target.part" "$target"
		[ -n "${KAM_CTL:-}" ] && kamcmd -s "$KAM_CTL" dispatcher.reload >/dev/null 2>&1
	fi
	[ "${1:-}" = once ] && exit 0
	sleep "${FRONTS_POLL_S:-3}"
done
