package conformance

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
)

// skip says what a stack cannot show, a test by name or a feature that tests ask for, and why. One that no test ran into
// fails the run.
type skip struct {
	stack  *Stack
	what   string
	reason string
	unseen []string // functions that therefore no test sees succeed
}

// Features that tests ask for.
const (
	sizes         = "the caller's buffer sizes"
	cancelByNil   = "a NULL mechanism"
	nested        = "reading templates inside of templates"
	partAnswers   = "several attributes of which one has no answer"
	emptyUnwrap   = "an empty wrapped key"
	initArgs      = "all of CK_C_INITIALIZE_ARGS"
	functions3    = "functions after 2.40"
	verifyRecover = "C_VerifyRecover"
	pinChanges    = "changes of PINs"
	manyPINs      = "many logins"
	rawParams     = "parameters in C's own layout"
	secondView    = "a second view of the same token"
	newSerial     = "a new serial number with each C_InitToken"
)

const (
	onePIN = "its tests share one token, and each PIN check costs the whole KDF"
	typed  = "its parameters are typed and cannot be malformed"
)

var skips = []skip{
	{library, sizes, "the client brings a buffer of exactly the length that it has asked for", nil},
	{library, cancelByNil, "the client insists on a mechanism", nil},
	{library, nested, "the client prepares no places for the inner values", nil},
	{library, partAnswers, "the client throws all values away when one has no answer", nil},
	{library, emptyUnwrap, "the client takes the address of the first byte", nil},
	{library, initArgs, "the client has no mutex callbacks and always gives C_Finalize NULL", nil},
	{library, functions3, "the client knows the list of 2.40 only", []string{"LoginUser", "SessionCancel", "VerifySignatureInit",
		"VerifySignature", "VerifySignatureUpdate", "VerifySignatureFinal",
		"MessageEncryptInit", "EncryptMessage", "EncryptMessageBegin", "EncryptMessageNext", "MessageEncryptFinal",
		"MessageDecryptInit", "DecryptMessage", "DecryptMessageBegin", "DecryptMessageNext", "MessageDecryptFinal",
		"MessageSignInit", "SignMessage", "SignMessageBegin", "SignMessageNext", "MessageSignFinal",
		"MessageVerifyInit", "VerifyMessage", "VerifyMessageBegin", "VerifyMessageNext", "MessageVerifyFinal",
		"EncapsulateKey", "DecapsulateKey", "AsyncComplete", "GetSessionValidationFlags",
		"WrapKeyAuthenticated", "UnwrapKeyAuthenticated"}},
	{library, verifyRecover, "the client calls C_DecryptVerifyUpdate in its place (v1.1.2)", []string{"VerifyRecover", "VerifyRecoverInit"}},
	{library, pinChanges, onePIN, []string{"SetPIN"}},
	{library, manyPINs, onePIN, nil},
	{library, secondView, "two processes on one token are a test of the C programs", nil},
	{memory, secondView, "nobody else can open its store", nil},
	{memory, rawParams, typed, nil},
	{sqliteFile, rawParams, typed, nil},
}

func init() {
	for _, s := range []*Stack{oneNode, oneTLS, threeNodes, threeOneDead, threeKilled} {
		skips = append(skips,
			skip{s, rawParams, typed, nil},
			skip{s, secondView, "its nodes are this test's own; what several clients see is the cluster tests' business", nil},
			skip{s, newSerial, "the serial number is the cluster's, and stays", nil})
	}
}

// never are functions that the token does not have; random_test.go knows their answers.
var never = []string{"SeedRandom", "AsyncGetID", "AsyncJoin", "WaitForSlotEvent"}

var usedSkips = map[*skip]bool{}

// skipped looks for a row.
func skipped(s *Stack, what string) (reason string, yes bool) {
	for i := range skips {
		if k := &skips[i]; k.stack == s && k.what == what {
			usedSkips[k] = true
			return k.reason, true
		}
	}
	return "", false
}

// needs skips the rest of a test where the stack lacks a feature.
func (e *env) needs(t *testing.T, feature string) {
	t.Helper()
	if reason, skip := skipped(e.stack, feature); skip {
		t.Skipf("%s: %s", feature, reason)
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	report(os.Stdout)
	if flag.Lookup("test.run").Value.String() == "" && code == 0 {
		code = complete()
	}
	loaded.remove()
	os.Exit(code)
}

// complete judges a run of the whole suite: every skip was needed and every function was seen to succeed.
func complete() (code int) {
	for i := range skips {
		if k := &skips[i]; !usedSkips[k] {
			fmt.Printf("unused skip: %s on %s\n", k.what, k.stack.Name)
			code = 1
		}
	}
	for _, s := range stacks {
		known := slices.Clone(never)
		for _, k := range skips {
			if k.stack == s {
				known = append(known, k.unseen...)
			}
		}
		for _, f := range recorders[s.Name].untouched() {
			if !slices.Contains(known, f) {
				fmt.Printf("%s: no test saw %s succeed\n", s.Name, f)
				code = 1
			}
		}
	}
	return code
}
