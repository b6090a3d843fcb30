package metrics

import (
	"github.com/coffer-hsm/coffer/core/cluster/member"
	"github.com/coffer-hsm/coffer/core/cluster/node"
)

// nodeTable is what every node tells of its clients and of the token.
var nodeTable = []metric[node.Stats]{
	{"coffer_requests_total", "Requests that were answered, by kind and return value.", "kind answer", requests},
	{"coffer_request_duration_seconds", "Time from when a request was read until its answer was ready; of the kinds that there were.", "kind", durations},
	number("coffer_requests_running", "Requests in work.", func(s node.Stats) int { return s.Running }),
	number("coffer_requests_waiting", "Requests that wait for their turn.", func(s node.Stats) int { return s.Waiting }),
	number("coffer_request_bytes", "Memory that requests and their answers take.", func(s node.Stats) int { return s.Bytes }),
	number("coffer_request_limit_bytes", "Memory that they may take.", func(s node.Stats) int { return s.BytesMost }),
	number("coffer_streams", "Streams of clients and other nodes that are open.", func(s node.Stats) int { return s.Streams }),
	number("coffer_streams_limit", "Streams that may be open.", func(s node.Stats) int { return s.StreamsMost }),
	counter("coffer_streams_opened_total", "Streams that were opened.", func(s node.Stats) uint64 { return s.Opened }),
	{"coffer_connections_refused_total", "Connections and streams that were refused or cut off, by why.", "reason",
		func(s node.Stats, t *teller) {
			for reason, n := range s.Refused {
				t.counter(n, reason)
			}
		}},
	{"coffer_logins_failed_total", "PINs that were wrong, or of a user who is locked.", "answer", loginsFailed},
	number("coffer_users", "Users of the token.", func(s node.Stats) int { return s.HSM.Users }),
	number("coffer_users_locked", "Users whom too many wrong PINs have locked.", func(s node.Stats) int { return s.HSM.Locked }),
	number("coffer_token_objects", "Token objects that the node holds.", func(s node.Stats) int { return s.HSM.TokenObjects }),
	number("coffer_session_objects_cached", "Session objects that the node has opened and keeps for the next request.",
		func(s node.Stats) int { return s.HSM.SessionObjects }),
}

func requests(s node.Stats, t *teller) {
	for _, k := range s.Kinds {
		for answer, n := range k.Answers {
			t.counter(n, k.Name, answer)
		}
	}
}

func durations(s node.Stats, t *teller) {
	for _, k := range s.Kinds {
		if k.Took.Count > 0 {
			t.histogram(k.Took, k.Name)
		}
	}
}

func loginsFailed(s node.Stats, t *teller) {
	for _, answer := range wrongPIN {
		var n uint64
		for _, k := range s.Kinds {
			n += k.Answers[answer]
		}
		t.counter(n, answer)
	}
}

// sizeTable is of the store, where the node has one or a copy of it.
var sizeTable = []metric[*member.Size]{
	size("coffer_store_bytes", "The store's file on the disk.", func(s *member.Size) int64 { return s.Bytes }),
	size("coffer_store_used_bytes", "What of it is in use.", func(s *member.Size) int64 { return s.Used }),
	size("coffer_store_limit_bytes", "What it may become before changes are refused.", func(s *member.Size) int64 { return s.Limit }),
}

// size leaves out what there is not.
func size(name, help string, of func(*member.Size) int64) metric[*member.Size] {
	return metric[*member.Size]{name, help, "", func(s *member.Size, t *teller) {
		if s != nil && of(s) > 0 {
			t.gauge(float64(of(s)))
		}
	}}
}

// quorum is told from before a cluster's node serves.
var quorum = gauge("coffer_cluster_quorum", "1 while a majority of the voters hears from this node; 0 until it serves.",
	func(s member.Stats) float64 { return flag(s.Quorum) })

// clusterTable is what a node of a cluster tells of it.
var clusterTable = []metric[member.Stats]{
	{"coffer_cluster_members", "Members of the cluster by state, as this node knows them.", "state",
		func(s member.Stats, t *teller) {
			for state, n := range s.States {
				t.gauge(float64(n), state)
			}
		}},
	number("coffer_cluster_voters", "Members that vote.", func(s member.Stats) int { return s.Voters }),
	gauge("coffer_cluster_votes", "1 where this node votes.", func(s member.Stats) float64 { return flag(s.Votes) }),
	gauge("coffer_cluster_leads", "1 where this node leads the store.", func(s member.Stats) float64 { return flag(s.Leads) }),
	quorum,
	gauge("coffer_cluster_unconfirmed_seconds", "Time since it was last known that this node has all that the others have.",
		func(s member.Stats) float64 { return s.Unconfirmed.Seconds() }),
	gauge("coffer_cluster_revision", "Revision of the store that this node has taken in.", func(s member.Stats) float64 { return float64(s.Revision) }),
	{"coffer_change_settle_seconds", "Time from when a majority had a change of this node's until every living node had it.", "",
		func(s member.Stats, t *teller) { t.histogram(s.Settled) }},
	counter("coffer_changes_unsettled_total", "Changes whose caller gave up before every living node had them.", func(s member.Stats) uint64 { return s.GivenUp }),
	counter("coffer_leases_ended_total", "Leases of other nodes that this one has ended, for they did not confirm a change.", func(s member.Stats) uint64 { return s.Fenced }),
}
