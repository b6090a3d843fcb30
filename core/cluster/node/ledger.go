package node

import (
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/tally"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What a Server counts for a monitoring system (Stats). Of a request that succeeds these are two atomic additions, of one
// that fails three. All names are fixed: nothing that a client sends becomes one.

// The kinds of request that are counted apart: the rows', those in which one row's requests differ, and what no row is for.
// A Step counts as the operation that it ends, or as one of these.
const (
	kindUpdate       = "Update"       // a part of the data; the operation goes on
	kindAuthenticate = "Authenticate" // the PIN of a key with CKA_ALWAYS_AUTHENTICATE
	kindUnknown      = "Unknown"      // what this node does not know
)

// operationKinds are the names for the operations that a Step ends. "Digest" is another request's.
var operationKinds = [hsm.NumOpKinds]string{
	hsm.OpEncrypt: "Encrypt", hsm.OpDecrypt: "Decrypt", hsm.OpDigest: "Hash", hsm.OpSign: "Sign", hsm.OpVerify: "Verify",
	hsm.OpSignRecover: "SignRecover", hsm.OpVerifyRecover: "VerifyRecover",
}

// The numbers of the kinds: the rows' come first, in any order.
var (
	firstOperation = len(rows)
	updating       = firstOperation + len(operationKinds)
	authenticating = updating + 1
	unknownKind    = authenticating + 1
	numKinds       = unknownKind + 1
)

// kindNames are the names of all kinds, by number.
var kindNames = func() []string {
	names := make([]string, numKinds)
	for _, r := range rows {
		names[r.number] = r.name
	}
	copy(names[firstOperation:], operationKinds[:])
	names[updating], names[authenticating], names[unknownKind] = kindUpdate, kindAuthenticate, kindUnknown
	return names
}()

// kindOf is the number of a request's kind; row is nil where there is none.
func kindOf(row *row, body any) int {
	b, isStep := body.(*wire.Request_Step)
	switch {
	case row == nil:
		return unknownKind
	case !isStep:
		return row.number
	}
	switch m := b.Step; {
	case m.GetAct() == wire.Act_ACT_AUTHENTICATE:
		return authenticating
	case m.GetAct() == wire.Act_ACT_UPDATE || m.GetAct() == wire.Act_ACT_DIGEST_KEY:
		return updating
	case m.GetKind() < uint32(hsm.NumOpKinds):
		return firstOperation + int(m.GetKind())
	}
	return row.number
}

// Answers that are no return value of the standard.
const (
	answerOther = "other" // a value that it does not name
	answerNone  = "none"  // nobody waited for it any more
)

// answerNames are the names of all answers, by number, and answerNumber the numbers of the return values.
var (
	answerNames  []string
	answerNumber = func() map[pkcs11.RV]int {
		m := map[pkcs11.RV]int{}
		for i, rv := range pkcs11.RVs() {
			answerNames = append(answerNames, rv.String())
			m[rv] = i
		}
		answerNames = append(answerNames, answerOther, answerNone)
		return m
	}()
)

// answerOf is the number of a reply's answer; nil is a reply that nobody waits for.
func answerOf(r *wire.Reply) int {
	if r == nil {
		return len(answerNames) - 1
	}
	if i, known := answerNumber[pkcs11.RV(r.GetFailure().GetRv())]; known {
		return i
	}
	return len(answerNames) - 2
}

// refusal is why somebody has got no stream.
type refusal int

const (
	tooMany    refusal = iota // connections or streams, in all or of one client
	notAllowed                // by allow_uids and allow_gids, or by the certificate
	noTLS                     // the handshake failed
	oldProtocol
	numRefusals
)

var refusalNames = [numRefusals]string{"too-many", "not-allowed", "no-tls", "old-protocol"}

// ledger is what a Server has counted since it was made.
type ledger struct {
	kinds   []kindCounts // by number
	streams atomic.Uint64
	refused [numRefusals]atomic.Uint64
}

// kindCounts has what succeeded and what failed apart, so that neither is ever worked out from a sum of both that was read a
// moment before or after.
type kindCounts struct {
	succeeded, failed tally.Histogram
	answers           []atomic.Uint64 // of those that failed, by the answer's number
}

func newLedger() *ledger {
	n := &ledger{kinds: make([]kindCounts, numKinds)}
	for i := range n.kinds {
		n.kinds[i].answers = make([]atomic.Uint64, len(answerNames))
	}
	return n
}

// answered counts a request and what it took since it came. r is nil if nobody waits for the reply.
func (n *ledger) answered(kind int, came time.Time, r *wire.Reply) {
	k := &n.kinds[kind]
	if r != nil && r.Failure == nil {
		k.succeeded.Observe(time.Since(came))
		return
	}
	k.failed.Observe(time.Since(came))
	k.answers[answerOf(r)].Add(1)
}

// refusing returns a log for refusals of one sort, which counts them too.
func (s *Server) refusing(why refusal) func(format string, args ...any) {
	return func(format string, args ...any) {
		s.ledger.refused[why].Add(1)
		s.log(format, args...)
	}
}
