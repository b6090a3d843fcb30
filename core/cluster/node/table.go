package node

import (
	"reflect"
	"slices"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// who may ask.
type who uint8

const (
	anybody  who = iota // as far as the HSM lets them
	managers            // those who may manage the cluster (hsm.ManageCluster)
	members             // nodes
)

// effect is what a request leaves behind.
type effect uint8

const (
	none   effect = iota // it may be asked for again, anywhere
	counts               // a wrong PIN is counted
	lasts                // it changes what the cluster keeps: nothing for a node without a quorum
)

// row is what a node does with one kind of request.
type row struct {
	name   string
	number int // of all rows
	body   reflect.Type
	run    func(*call) error
	lane   int
	who    who
	effect effect
	always bool // answered by a draining node too
	stale  bool // does not depend on the token's state, or is about this node's copy as it is
	open   bool // no credential counts

	// Where it depends on the request; nil where it does not.
	lasting func(body any) bool // whether what lasts does
	counts  func(body any) bool // whether it counts
	slow    func(body any) bool // heavy instead of lane
	answer  func(body any) int  // room for the answer in bytes; usualAnswer else
}

// trait is what is special about a row.
type trait func(*row)

func always(r *row)   { r.always = true }
func stale(r *row)    { r.stale = true }
func open(r *row)     { r.open = true }
func counting(r *row) { r.effect = counts }
func lasting(r *row)  { r.effect = lasts }
func long(r *row)     { r.answer = func(any) int { return longAnswer } }

func only(w who) trait { return func(r *row) { r.who = w } }

func lastingIf[B any](f func(B) bool) trait {
	return func(r *row) { r.effect, r.lasting = lasts, func(body any) bool { return f(body.(B)) } }
}

func slowIf[B any](f func(B) bool) trait {
	return func(r *row) { r.slow = func(body any) bool { return f(body.(B)) } }
}

func countingIf[B any](f func(B) bool) trait {
	return func(r *row) { r.counts = func(body any) bool { return f(body.(B)) } }
}

func answers[B any](f func(B) int) trait {
	return func(r *row) { r.answer = func(body any) int { return f(body.(B)) } }
}

// on makes a row for requests with the body B.
func on[B any](name string, lane int, f func(c *call, body B) error, traits ...trait) *row {
	r := &row{name: name, body: reflect.TypeFor[B](), lane: lane, run: func(c *call) error { return f(c, any(c.request.Body).(B)) }}
	for _, t := range traits {
		t(r)
	}
	return r
}

// rows is the one table of requests, but for Hello, Ping and Cancel, which the reader answers.
var rows = table(
	on("GetInfo", quick, getInfo),
	on("Members", quick, getMembers, always, stale, open),
	on("InitToken", heavy, initToken, lasting),
	on("Login", heavy, login, counting, open),
	on("Logout", quick, logout),
	on("InitPIN", heavy, initPIN, lasting),
	on("SetPIN", heavy, setPIN, lasting, open),
	on("Renew", quick, renew),
	on("ListUsers", quick, listUsers, long),
	on("CreateUser", heavy, createUser, lasting),
	on("DeleteUser", storing, deleteUser, lasting),
	on("ResetPIN", heavy, resetPIN, lasting),

	on("CreateObject", storing, createObject, lastingIf(func(b *wire.Request_CreateObject) bool {
		return makesToken(b.CreateObject.GetTemplate(), false)
	})),
	on("CopyObject", storing, copyObject, lastingIf(func(b *wire.Request_CopyObject) bool {
		return makesToken(b.CopyObject.GetTemplate(), b.CopyObject.GetSource().GetToken())
	})),
	on("DestroyObject", storing, destroyObject, lastingIf(func(b *wire.Request_DestroyObject) bool {
		return b.DestroyObject.GetObject().GetToken()
	})),
	on("ObjectSize", quick, objectSize),
	on("GetAttributes", quick, getAttributes),
	on("SetAttributes", storing, setAttributes, lastingIf(func(b *wire.Request_SetAttributes) bool {
		return b.SetAttributes.GetObject().GetToken()
	})),
	on("FindObjects", quick, findObjects, long),
	on("GenerateKey", storing, generateKey, lastingIf(func(b *wire.Request_GenerateKey) bool {
		return makesToken(b.GenerateKey.GetTemplate(), false)
	}), slowIf(func(b *wire.Request_GenerateKey) bool {
		return slices.Contains(slowGenerators, pkcs11.MechanismType(b.GenerateKey.GetMechanism().GetType()))
	})),
	on("GenerateKeyPair", heavy, generateKeyPair, lastingIf(func(b *wire.Request_GenerateKeyPair) bool {
		return makesToken(b.GenerateKeyPair.GetPublic(), false) || makesToken(b.GenerateKeyPair.GetPrivate(), false)
	})),
	on("WrapKey", quick, wrapKey),
	on("UnwrapKey", storing, unwrapKey, lastingIf(func(b *wire.Request_UnwrapKey) bool {
		return makesToken(b.UnwrapKey.GetTemplate(), false)
	})),
	on("DeriveKey", storing, deriveKey, lastingIf(derivesToken)),
	on("EncapsulateKey", storing, encapsulateKey, lastingIf(func(b *wire.Request_EncapsulateKey) bool {
		return b.EncapsulateKey.GetRoom() > 0 && makesToken(b.EncapsulateKey.GetTemplate(), false)
	})),
	on("DecapsulateKey", storing, decapsulateKey, lastingIf(func(b *wire.Request_DecapsulateKey) bool {
		return makesToken(b.DecapsulateKey.GetTemplate(), false)
	})),

	on("Begin", quick, begin),
	on("Step", quick, step, slowIf(authenticates), countingIf(authenticates), answers(func(b *wire.Request_Step) int {
		return len(b.Step.GetData()) + len(b.Step.GetState())
	})),
	on("Random", quick, random, stale, open, answers(func(b *wire.Request_Random) int {
		return int(min(b.Random.GetBytes(), maxRandom))
	})),
	on("Seed", quick, seed, stale, open),

	on("Await", waiting, await, only(members), always, stale, open),
	on("Coverage", waiting, coverage, always, long),
	on("Digest", heavy, digest, always, stale),
	on("Invite", waiting, invite, only(managers), lasting),
	on("RemoveMember", waiting, removeMember, only(managers), lasting),
	on("DrainMember", waiting, drainMember, only(managers), always, lasting),
	on("Certify", waiting, certify, only(managers), lasting),
	on("Certificates", waiting, certificates, only(managers), long),
	on("RevokeCertificate", waiting, revokeCertificate, only(managers), lasting),
	on("Status", waiting, getStatus, always, stale, long),
)

func table(list ...*row) map[reflect.Type]*row {
	m := make(map[reflect.Type]*row, len(list))
	for i, r := range list {
		r.number = i
		m[r.body] = r
	}
	return m
}

// authenticates says whether a step of an operation is the PIN that its key asks for.
func authenticates(b *wire.Request_Step) bool { return b.Step.GetAct() == wire.Act_ACT_AUTHENTICATE }

// slowGenerators are those of C_GenerateKey that take longer than waiting for the store: as long as the caller wants a password to
// be hashed, or until primes are found.
var slowGenerators = []pkcs11.MechanismType{pkcs11.CKM_PKCS5_PBKD2, pkcs11.CKM_DSA_PARAMETER_GEN}

// makesToken says whether a template asks for a token object; usual is what holds if it does not say.
func makesToken(m *wire.Template, usual bool) bool {
	for _, a := range m.GetAttributes() {
		if a.GetType() == uint64(pkcs11.CKA_TOKEN) {
			return a.GetBool()
		}
	}
	return usual
}

func (r *row) laneOf(body any) int {
	if r.slow != nil && r.slow(body) {
		return heavy
	}
	return r.lane
}

func (r *row) effectOf(body any) effect {
	switch {
	case r.lasting != nil && !r.lasting(body):
		return none
	case r.counts != nil && r.counts(body):
		return counts
	}
	return r.effect
}

// What an answer may take in memory, in bytes.
const (
	usualAnswer = 4 << 10
	longAnswer  = 1 << 20
)

// room is what an answer may take beside what the request has taken.
func (r *row) room(body any) int {
	if r.answer == nil {
		return usualAnswer
	}
	return usualAnswer + r.answer(body)
}
