package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// seeded returns random numbers whose seed the test prints.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.New(rand.NewChaCha8(key))
}

// sent returns m as the far side gets it.
func sent[M proto.Message](t testing.TB, m M) M {
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	out := m.ProtoReflect().New().Interface().(M)
	require.NoError(t, proto.Unmarshal(b, out))
	return out
}

// attributeTypes are all that the standard knows, found by asking about every number below its largest.
func attributeTypes() (out []pkcs11.AttributeType) {
	for n := range pkcs11.AttributeType(0x1000) {
		for _, t := range []pkcs11.AttributeType{n, n | 0x40000000, n | 0x80000000} {
			if _, known := t.Kind(); known && t.Normalize() == t {
				out = append(out, t)
			}
		}
	}
	return out
}

// randomValue returns a value for t; depth is that of the template in which it stands.
func randomValue(r *rand.Rand, t pkcs11.AttributeType, depth int) any {
	kind, _ := t.Kind()
	switch kind {
	case pkcs11.KindBool:
		return r.IntN(2) == 0
	case pkcs11.KindUlong:
		return uint(r.Uint64() >> r.IntN(64))
	case pkcs11.KindDate:
		return []byte([]string{"", "20000101", "20991231"}[r.IntN(3)])
	case pkcs11.KindMechanisms:
		return randomList[pkcs11.MechanismType](r)
	case pkcs11.KindUlongs:
		return randomList[uint](r)
	case pkcs11.KindTemplate:
		if depth == MaxDepth {
			return pkcs11.Template{{Type: t}}[:0]
		}
		return randomTemplate(r, r.IntN(4), depth+1)
	}
	return randomBytes(r)
}

func randomTemplate(r *rand.Rand, n, depth int) pkcs11.Template {
	all := attributeTypes()
	out := make(pkcs11.Template, n)
	for i := range out {
		t := all[r.IntN(len(all))]
		out[i] = pkcs11.Attribute{Type: t}
		if r.IntN(8) > 0 {
			out[i].Value = randomValue(r, t, depth)
		}
	}
	return out
}

func randomBytes(r *rand.Rand) []byte {
	b := make([]byte, r.IntN(4)*r.IntN(20))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomList[N ~uint](r *rand.Rand) []N {
	list := make([]N, r.IntN(5))
	for i := range list {
		list[i] = N(r.Uint64() >> r.IntN(64))
	}
	return list
}

// fill gives every member of a parameter struct a random value, each time also nil, empty or 0 for some.
func fill(t testing.TB, r *rand.Rand, v reflect.Value) {
	switch to := v.Addr().Interface().(type) {
	case *pkcs11.NewHandle: // not sent
		return
	case *pkcs11.Output:
		to.Wanted = r.IntN(2) == 0
		return
	case *pkcs11.Template:
		if r.IntN(3) > 0 {
			*to = randomTemplate(r, r.IntN(4), 1)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, r, v.Field(i))
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, r, v.Elem())
		}
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint:
		v.SetUint(r.Uint64() >> r.IntN(64) * r.Uint64N(2))
	case reflect.Uint8:
		v.SetUint(r.Uint64N(256))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for range r.IntN(4) {
				in := reflect.New(v.Type().Elem()).Elem()
				fill(t, r, in)
				v.Set(reflect.Append(v, in))
			}
			return
		}
		require.Equal(t, reflect.Uint8, v.Type().Elem().Kind())
		if r.IntN(3) > 0 {
			v.SetBytes(randomBytes(r))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, r, v.Index(i))
		}
	default:
		t.Fatalf("no random values for a member of type %v", v.Type())
	}
}

// messageKinds are the parameters of messages: no mechanism has one as its own.
func messageKinds() map[pkcs11.ParamKind]bool {
	out := map[pkcs11.ParamKind]bool{}
	for t := range pkcs11.MechanismType(0x5000) {
		out[t.MessageKind()] = true
	}
	delete(out, pkcs11.ParamUnknown)
	return out
}

// mechanismOf returns a mechanism for each kind of parameter.
func mechanismOf() map[pkcs11.ParamKind]pkcs11.MechanismType {
	out := map[pkcs11.ParamKind]pkcs11.MechanismType{}
	for t := range pkcs11.MechanismType(0x5000) {
		if _, there := out[t.ParamKind()]; !there && t.IVLen() == 0 {
			out[t.ParamKind()] = t
		}
	}
	return out
}
